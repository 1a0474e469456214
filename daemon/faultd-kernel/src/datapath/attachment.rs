//! One program at one hook of one interface, by TCX or by clsact.

use std::collections::HashSet;

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        tc::{SchedClassifierLink, TcAttachOptions},
    },
};

use super::{DatapathError, Hook};
use crate::{
    link,
    namespace::Namespace,
    netlink::{Netlink, NetlinkError},
    traffic_control,
};

/// The names of our programs, under which clsact shows them, start with this.
pub(crate) const FILTER_NAME_PREFIX: &str = "faultd:";

/// How programs are attached to interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachKind {
    /// By a link that ends with this process (from Linux 6.6 on).
    Tcx,
    /// By a filter, which outlives a killed process, without effect once the leases are over.
    Clsact,
}

/// A program that is attached.
pub(crate) enum Attachment {
    /// Dropping the link detaches it.
    Tcx { link: SchedClassifierLink },
    /// Where our filter is.
    Clsact { index: u32, hook: Hook },
}

/// Makes attachments in one namespace, and remembers which clsact is ours: others may have theirs.
pub(crate) struct Attacher {
    namespace: Namespace,
    kind: AttachKind,
    own_clsact: HashSet<u32>,
}

impl Attacher {
    pub(crate) fn new(namespace: Namespace, kind: AttachKind) -> Self {
        Self { namespace, kind, own_clsact: HashSet::new() }
    }

    /// Attaches a loaded program to a hook.
    pub(crate) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        program_name: &'static str,
        index: u32,
        hook: Hook,
    ) -> Result<Attachment, DatapathError> {
        let program = classifier(ebpf, program_name)?;
        match self.kind {
            AttachKind::Tcx => self.attach_tcx(program, program_name, index, hook),
            AttachKind::Clsact => self.attach_clsact(program, program_name, index, hook),
        }
    }

    fn attach_tcx(
        &self,
        program: &mut SchedClassifier,
        program_name: &'static str,
        index: u32,
        hook: Hook,
    ) -> Result<Attachment, DatapathError> {
        let failed = DatapathError::program(program_name);
        let attach_type = match hook {
            Hook::Ingress => TcAttachType::Ingress,
            Hook::Egress => TcAttachType::Egress,
        };
        // First, because a program of others that accepts a packet ends the chain; ours never does.
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        // The name may have changed since it was looked up; the index has not.
        let name = link::name_of(&self.namespace, index)?;
        let attached = self.namespace.run(|| {
            let id = program.attach_with_options(&name, attach_type, options)?;
            program.take_link(id)
        })?;
        let link = attached.map_err(failed)?;
        // Had the interface gone meanwhile, and another one got its name, we would be at that one: the link is
        // dropped then, which detaches it.
        link::name_of(&self.namespace, index)?;
        Ok(Attachment::Tcx { link })
    }

    fn attach_clsact(
        &mut self,
        program: &SchedClassifier,
        program_name: &'static str,
        index: u32,
        hook: Hook,
    ) -> Result<Attachment, DatapathError> {
        let file = program.fd().map_err(DatapathError::program(program_name))?;
        let netlink = Netlink::of(&self.namespace);
        if traffic_control::add_clsact(&netlink, index)? {
            self.own_clsact.insert(index);
        }
        let name = format!("{FILTER_NAME_PREFIX}{program_name}");
        let added = traffic_control::add_filter(&netlink, index, hook, std::os::fd::AsFd::as_fd(file), &name);
        if added.is_err() {
            self.remove_own_clsact(&netlink, index)?;
        }
        added?;
        Ok(Attachment::Clsact { index, hook })
    }

    /// Detaches a program. An interface that is gone is no error.
    pub(crate) fn detach(&mut self, attachment: Attachment) -> Result<(), DatapathError> {
        let (index, hook) = match attachment {
            Attachment::Tcx { link } => {
                drop(link);
                return Ok(());
            }
            Attachment::Clsact { index, hook } => (index, hook),
        };
        let netlink = Netlink::of(&self.namespace);
        ignore_absent(traffic_control::delete_filter(&netlink, index, hook))?;
        self.remove_own_clsact(&netlink, index)
    }

    /// Gives up an attachment to a device that is about to be removed, which detaches it: quicker than to
    /// detach it first.
    pub(crate) fn forget(&mut self, attachment: &Attachment) {
        if let Attachment::Clsact { index, .. } = attachment {
            self.own_clsact.remove(index);
        }
    }

    /// Removes a clsact that we added, unless somebody put a filter into it.
    fn remove_own_clsact(&mut self, netlink: &Netlink, index: u32) -> Result<(), DatapathError> {
        if !self.own_clsact.contains(&index) {
            return Ok(());
        }
        for hook in Hook::ALL {
            match traffic_control::list_filters(netlink, index, hook) {
                Ok(filters) if !filters.is_empty() => return Ok(()),
                Err(error) if !error.means_absent() => return Err(error.into()),
                _ => {}
            }
        }
        self.own_clsact.remove(&index);
        ignore_absent(traffic_control::delete_clsact(netlink, index))
    }
}

/// Loads a program of the object into the kernel.
pub(crate) fn load_program(ebpf: &mut Ebpf, name: &'static str) -> Result<(), DatapathError> {
    classifier(ebpf, name)?.load().map_err(DatapathError::program(name))
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, DatapathError> {
    let program = ebpf.program_mut(name).ok_or(DatapathError::MissingInObject(name))?;
    program.try_into().map_err(|error: ProgramError| DatapathError::program(name)(error))
}

fn ignore_absent(result: Result<(), NetlinkError>) -> Result<(), DatapathError> {
    match result {
        // EINVAL is what a filter gets whose queueing discipline is gone.
        Err(error)
            if error.means_absent()
                || error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) =>
        {
            Ok(())
        }
        result => Ok(result?),
    }
}
