//! Many clients at once, each with faults of its own: all are served, and those that vanish take their faults with them.

use std::{path::PathBuf, time::Duration};

use faultd_api::{
    dictionary::decode,
    fault::{FaultRequest, FaultStatus},
    shape::FaultShape,
};
use faultd_testkit::{
    command::wait_until, daemon_under_test::DaemonUnderTest, exclusive, resources::descriptors,
};

use crate::{
    FAULTD,
    callers::{connect, encoded, manager},
    length::length,
    networks::VethToHost,
    turn,
};

const CLIENTS: u16 = 50;
/// The daemon opens some that stay open, by and by; a client that leaves one of its own leaves fifty.
const STAY_OPEN: usize = 16;
const FIRST_PORT: u16 = 20_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// A fault on packets of one port, which is the client's own.
fn request(target: &str, port: u16, loss_ratio: f64) -> FaultRequest {
    FaultRequest {
        target: target.to_owned(),
        loss_ratio: Some(loss_ratio),
        shape: FaultShape { port: Some(port.to_string()), ..FaultShape::default() },
        ..FaultRequest::default()
    }
}

/// Adds, changes, shows, lists and removes; in the end it vanishes with a fault on.
async fn client(socket: PathBuf, target: String, port: u16, rounds: u32) {
    let connection = connect(&socket).await;
    let root = manager(&connection).await;
    for round in 0..=rounds {
        let added = root.add_fault(encoded(&request(&target, port, 0.5))).await;
        let added = added.unwrap_or_else(|error| panic!("{port}, round {round}: {error}"));
        let id = decode::<FaultStatus>(added).expect("a fault").id;
        root.set_fault(&id, encoded(&request(&target, port, 0.25))).await.expect("changed");
        let shown = root.show_fault(&id).await.expect("shown");
        let loss = decode::<FaultStatus>(shown).expect("a fault").loss_ratio;
        assert_eq!(loss, Some(0.25), "{port}");
        // Somebody else has this port already: itself.
        let again = root.add_fault(encoded(&request(&target, port, 0.5))).await;
        assert!(matches!(again, Err(faultd_api::error::Error::Busy(_))), "{again:?}");
        assert!(root.list_faults().await.expect("listed").len() <= usize::from(CLIENTS));
        if round < rounds {
            root.remove_fault(&id).await.expect("removed");
        }
    }
}

#[test]
fn fifty_clients_at_once_are_served_and_nothing_of_them_is_left() {
    let _turn = turn();
    let _exclusive = exclusive();
    let network = VethToHost::create();
    let daemon = DaemonUnderTest::start(FAULTD);
    let faults =
        || daemon.faultctl("-o json fault ls").json()["faults"].as_array().map(Vec::len).expect("faults");
    let target = network.target.target_name();
    // What the first fault opens stays open for the next one.
    daemon.faultctl(&format!("fault add {target} --loss 5% --detach")).succeeded();
    daemon.faultctl("fault clear --all").succeeded();
    let before = descriptors(daemon.pid());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let clients = (0..CLIENTS).map(|number| {
            let (socket, target) = (daemon.socket(), target.clone());
            tokio::spawn(client(socket, target, FIRST_PORT + number, length().rounds_of_a_crowd))
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.expect("a client");
        }
    });
    assert!(wait_until(PATIENCE, || faults() == 0), "{} faults outlive their clients", faults());
    let left = || faultd_testkit::traces::rule_parts(&network.host.outside);
    let attached = || left().into_iter().filter(|part| part.contains("TCX")).count();
    assert!(wait_until(PATIENCE, || attached() == 0), "{:?}", left());
    let closed = wait_until(PATIENCE, || descriptors(daemon.pid()) <= before + STAY_OPEN);
    assert!(closed, "{before} descriptors became {}", descriptors(daemon.pid()));
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}
