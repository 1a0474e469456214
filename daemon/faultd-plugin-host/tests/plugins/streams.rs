//! The limits of the import `streams`, tried by a driver that does not keep to them.

use faultd_plugin_host::{DriverClient, Member, Operation, PluginEngine, PluginError, Problem, Refusal};

use crate::built::fixture;
use crate::clients::options;
use crate::servers::silent;

/// A client that opens a connection to the member of a key's number with each operation.
async fn opener(member: Member) -> DriverClient {
    let component = fixture("opener", include_str!("fixtures/opens-streams.wat"));
    let plugin = PluginEngine::new().unwrap().load_driver("opener", &component).unwrap();
    plugin.client(options(&[member])).await.unwrap()
}

fn refusal(error: PluginError) -> Refusal {
    match error {
        PluginError::Plugin { problem: Problem::Refused { call: "operate", refusal }, .. } => refusal,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_member_out_of_range_ends_the_instance() {
    let (member, accepted) = silent().await;
    let mut client = opener(member).await;
    let key = u64::from(u32::MAX);
    let refusal = refusal(client.operate(Operation { key, reads: true }).await.unwrap_err());
    assert_eq!(refusal, Refusal::NoSuchMember { member: u32::MAX, count: 1 });
    assert_eq!(accepted.count(), 0);
}

#[tokio::test]
async fn one_stream_too_many_ends_the_instance_and_closes_all() {
    let (member, accepted) = silent().await;
    let mut client = opener(member).await;
    let operation = Operation { key: 0, reads: true };
    for _ in 0..16 {
        assert_eq!(client.operate(operation).await.unwrap().failure, None);
    }
    assert_eq!(refusal(client.operate(operation).await.unwrap_err()), Refusal::TooManyStreams(16));
    let PluginError::Plugin { problem, .. } = client.operate(operation).await.unwrap_err() else { panic!() };
    assert_eq!((problem, accepted.count()), (Problem::Unusable, 16));
}
