//! An exchange and the connection that it waits on, as one future of one task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::bindings::driver::faultd::plugin::failures::Failure;

/// Waits for an exchange while its connection is driven.
///
/// The exchange can only go on when the connection has: so it is looked at after each step of that, and needs no
/// waker of its own. With one, it would wake the task that is looking at it already, and each wake of a plugin's
/// task enters the plugin's stack once more.
pub(super) async fn driven<T>(
    exchange: impl Future<Output = Result<T, Failure>>,
    connection: &mut Pin<Box<impl Future>>,
) -> Result<T, Failure> {
    let mut exchange = pin!(exchange);
    let mut is_sent = false;
    poll_fn(|context| {
        // The request has to be handed over before the connection can send it.
        if !std::mem::replace(&mut is_sent, true)
            && let Poll::Ready(answer) = look(exchange.as_mut())
        {
            return Poll::Ready(answer);
        }
        let has_ended = connection.as_mut().poll(context).is_ready();
        match look(exchange.as_mut()) {
            // Whether the answer was complete before the end, only its reader knows.
            Poll::Pending if has_ended => Poll::Ready(Err(Failure::Connection("it was closed".to_owned()))),
            looked_at => looked_at,
        }
    })
    .await
}

fn look<T>(exchange: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    exchange.poll(&mut Context::from_waker(std::task::Waker::noop()))
}
