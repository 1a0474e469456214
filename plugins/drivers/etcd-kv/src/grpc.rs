//! etcd's own protocol: gRPC. Of its messages (`rpc.proto`) only the fields that are used here.

use faultd_plugin_sdk::driver::Failure;
use faultd_plugin_sdk::grpc::call;
use prost::Message;

use crate::status::Status;
use crate::transport::Transport;

/// Speaks gRPC.
pub struct Grpc {
    value: Vec<u8>,
}

impl Grpc {
    /// With the value that puts write.
    pub fn new(value: Vec<u8>) -> Self {
        Self { value }
    }
}

impl Transport for Grpc {
    fn put(&self, member: u32, key: &str) -> Result<(), Failure> {
        let request = PutRequest { key: key.into(), value: self.value.clone() };
        call(member, "/etcdserverpb.KV/Put", &request.encode_to_vec()).map(drop)
    }

    fn get(&self, member: u32, key: &str, serializable: bool) -> Result<(), Failure> {
        let request = RangeRequest { key: key.into(), serializable };
        call(member, "/etcdserverpb.KV/Range", &request.encode_to_vec()).map(drop)
    }

    fn delete(&self, member: u32, from: &str, to: &str) -> Result<(), Failure> {
        let request = DeleteRangeRequest { key: from.into(), range_end: to.into() };
        call(member, "/etcdserverpb.KV/DeleteRange", &request.encode_to_vec()).map(drop)
    }

    fn status(&self, member: u32) -> Result<Status, Failure> {
        parse(&call(member, "/etcdserverpb.Maintenance/Status", &[])?).map_err(Failure::Server)
    }
}

fn parse(message: &[u8]) -> Result<Status, String> {
    let StatusResponse { header, leader, raft_term } =
        StatusResponse::decode(message).map_err(|error| error.to_string())?;
    let header = header.ok_or("the status has no header")?;
    Ok(Status { member: header.member_id, leader, term: raft_term })
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bool, tag = "7")]
    serializable: bool,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteRangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    range_end: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
    #[prost(uint64, tag = "6")]
    raft_term: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_tags_of_etcd() {
        let put = PutRequest { key: b"k".to_vec(), value: b"v".to_vec() };
        assert_eq!(put.encode_to_vec(), b"\x0a\x01k\x12\x01v");
        let range = RangeRequest { key: b"k".to_vec(), serializable: true };
        assert_eq!(range.encode_to_vec(), b"\x0a\x01k\x38\x01");
        let delete = DeleteRangeRequest { key: b"k".to_vec(), range_end: b"l".to_vec() };
        assert_eq!(delete.encode_to_vec(), b"\x0a\x01k\x12\x01l");
    }

    #[test]
    fn a_status_is_read_and_fields_that_are_not_known_are_passed_over() {
        // Header (member 5), version "3", leader 5, index 9, term 2.
        let message = b"\x0a\x02\x10\x05\x12\x013\x20\x05\x28\x09\x30\x02";
        assert_eq!(parse(message), Ok(Status { member: 5, leader: 5, term: 2 }));
        assert!(parse(b"\x20\x05").unwrap_err().contains("header"));
        assert!(parse(b"\xff").is_err());
    }
}
