//! A fault on the bus.

use std::sync::Arc;

use faultd_api::{
    dictionary::Dictionary,
    error::Error,
    fault::FaultStatus,
    names::{FAULT_PATH, path_element},
};
use zbus::{ObjectServer, fdo, interface, message::Header};

use super::{Kind, Shown, dictionary_of};
use crate::bus::{desk::Desk, faults};

pub(super) struct FaultObject {
    desk: Arc<Desk>,
    shown: Shown<FaultStatus>,
}

impl Kind for FaultObject {
    type Status = FaultStatus;
    const SILENT: &'static [&'static str] = &["Held", "Packets", "Processes", "RemainingNs"];

    fn path(id: &str) -> String {
        format!("{FAULT_PATH}/{}", path_element(id))
    }

    fn new(desk: &Arc<Desk>, shown: Shown<FaultStatus>) -> Self {
        Self { desk: Arc::clone(desk), shown }
    }
}

#[interface(name = "org.faultd.Engine1.Fault")]
impl FaultObject {
    /// Everything about the fault as it is now: what ShowFault answers.
    #[zbus(out_args("fault"))]
    async fn show(&self, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        faults::show(&self.desk, &header, &self.shown.now().id).await
    }

    /// Changes what it does; see SetFault.
    #[zbus(out_args("fault"))]
    async fn set(
        &self,
        request: Dictionary,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<Dictionary, Error> {
        faults::set(&self.desk, server, &header, &self.shown.now().id, request).await
    }

    /// Removes it; returns when it does not hold any more.
    async fn remove(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<(), Error> {
        faults::remove(&self.desk, server, &header, &self.shown.now().id).await
    }

    /// Its id: f1, f2 ...
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> String {
        self.shown.now().id.clone()
    }

    /// The full name of the target.
    #[zbus(property(emits_changed_signal = "const"))]
    fn target(&self) -> String {
        self.shown.now().target.clone()
    }

    /// The network of the container whose packets are concerned; empty for all.
    #[zbus(property(emits_changed_signal = "const"))]
    fn network(&self) -> String {
        self.shown.now().network.clone().unwrap_or_default()
    }

    /// egress, ingress or both; empty for a fault on processes.
    #[zbus(property(emits_changed_signal = "const"))]
    fn direction(&self) -> String {
        self.shown.now().direction_text().to_owned()
    }

    /// The run that it belongs to; empty for none.
    #[zbus(property(emits_changed_signal = "const"))]
    fn run(&self) -> String {
        self.shown.now().run.clone().unwrap_or_default()
    }

    /// Seed of what is random in it.
    #[zbus(property(emits_changed_signal = "const"))]
    fn seed(&self) -> u64 {
        self.shown.now().seed
    }

    /// What it does, in one word each: delay, loss, delay+loss, rate, pause, cpu ...
    #[zbus(property)]
    fn kind(&self) -> String {
        self.shown.now().kind.clone()
    }

    /// What it does to which packets, for people.
    #[zbus(property)]
    fn text(&self) -> String {
        self.shown.now().text.clone()
    }

    /// One-way delay, in nanoseconds; 0 for none.
    #[zbus(property)]
    fn delay_ns(&self) -> u64 {
        self.shown.now().delay_ns.unwrap_or(0)
    }

    /// Share of packets dropped, 0 to 1.
    #[zbus(property)]
    fn loss_ratio(&self) -> f64 {
        self.shown.now().loss_ratio.unwrap_or(0.0)
    }

    /// What it does beside that, and to which packets: the shape of the request.
    #[zbus(property)]
    fn shape(&self) -> fdo::Result<Dictionary> {
        dictionary_of(&self.shown.now().shape)
    }

    /// The peers that are called by a name, with their addresses as they are known now.
    #[zbus(property)]
    fn peers(&self) -> Vec<String> {
        self.shown.now().peers.clone()
    }

    /// How it is carried out: ebpf, edt, netem, relay or a combination; cgroup.
    #[zbus(property)]
    fn backend(&self) -> String {
        self.shown.now().backend.clone()
    }

    /// Why so.
    #[zbus(property)]
    fn backend_reason(&self) -> String {
        self.shown.now().backend_reason.clone()
    }

    /// The interfaces whose packets are concerned; empty for a fault on processes.
    #[zbus(property)]
    fn interface(&self) -> String {
        self.shown.now().interface.clone()
    }

    /// effective, ineffective, degraded, away or gone.
    #[zbus(property)]
    fn state(&self) -> String {
        self.shown.now().state.clone()
    }

    /// How many times it followed its container to other interfaces.
    #[zbus(property)]
    fn follows(&self) -> u64 {
        self.shown.now().follows
    }

    /// How long after the request the first packet was affected, in nanoseconds; 0 while none was.
    #[zbus(property)]
    fn onset_ns(&self) -> u64 {
        self.shown.now().onset_ns.unwrap_or(0)
    }

    /// Time left, in nanoseconds, as of the last second; 0 without an end of its own.
    #[zbus(property(emits_changed_signal = "false"))]
    fn remaining_ns(&self) -> u64 {
        self.shown.now().remaining_ns.unwrap_or(0)
    }

    /// What the programs counted, as of the last second.
    #[zbus(property(emits_changed_signal = "false"))]
    fn packets(&self) -> fdo::Result<Dictionary> {
        dictionary_of(&self.shown.now().packets)
    }

    /// How long packets were really held, as of the last second; empty where none was.
    #[zbus(property(emits_changed_signal = "false"))]
    fn held(&self) -> fdo::Result<Dictionary> {
        self.shown.now().held.as_ref().map_or_else(|| Ok(Dictionary::new()), dictionary_of)
    }

    /// What was measured of a fault on processes, as of the last second; empty for one on packets.
    #[zbus(property(emits_changed_signal = "false"))]
    fn processes(&self) -> fdo::Result<Dictionary> {
        self.shown.now().processes.as_ref().map_or_else(|| Ok(Dictionary::new()), dictionary_of)
    }
}
