//! The TAP device: an interface whose packets are read and written through a file, with their
//! offload header, so that segments stay large and checksums stay with the kernel.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsFd, unix::fs::OpenOptionsExt as _},
};

use rustix::{
    fs::OFlags,
    io::Errno,
    ioctl::{IntegerSetter, Setter, ioctl, opcode},
};

/// Length of the kernel's `struct virtio_net_hdr` in front of each frame.
pub(crate) const OFFLOAD_HEADER: usize = 10;

/// The largest frame: 64 KiB of a segmentation-offload packet with its headers, a VLAN tag and our header.
pub(crate) const LARGEST_FRAME: usize = OFFLOAD_HEADER + faultd_abi::RELAY_HEADER + 14 + 4 + 65_535 + 40;

const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);
const TUNSETOFFLOAD: rustix::ioctl::Opcode = opcode::write::<u32>(b'T', 208);

const IFF_TAP: i16 = 0x0002;
const IFF_NO_PI: i16 = 0x1000;
const IFF_VNET_HDR: i16 = 0x4000;

const TUN_F_CSUM: usize = 0x01;
const TUN_F_TSO4: usize = 0x02;
const TUN_F_TSO6: usize = 0x04;
const TUN_F_TSO_ECN: usize = 0x08;
const TUN_F_USO4: usize = 0x20;
const TUN_F_USO6: usize = 0x40;
const TCP_OFFLOADS: usize = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
const UDP_OFFLOADS: usize = TUN_F_USO4 | TUN_F_USO6;

const NAME_LENGTH: usize = 16;

/// The kernel's `struct ifreq`, of which TUNSETIFF reads name and flags.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME_LENGTH],
    flags: i16,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<InterfaceRequest>() == 40);

/// Makes a TAP device of that name in the namespace of the calling thread. It lasts as long as the
/// file, which does not block.
pub(crate) fn create(name: &str) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/net/tun")?;
    set_interface(&file, interface_request(name)?)?;
    // Kernels before 6.2 do not know the offloads for UDP and refuse them with EINVAL.
    match set_offloads(&file, TCP_OFFLOADS | UDP_OFFLOADS) {
        Err(Errno::INVAL) => set_offloads(&file, TCP_OFFLOADS)?,
        result => result?,
    }
    Ok(file)
}

fn interface_request(name: &str) -> io::Result<InterfaceRequest> {
    let mut request =
        InterfaceRequest { name: [0; NAME_LENGTH], flags: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, rest: [0; 22] };
    // The last byte stays 0, which ends the name.
    match request.name.get_mut(..name.len()) {
        Some(field) if name.len() < NAME_LENGTH => field.copy_from_slice(name.as_bytes()),
        _ => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
    Ok(request)
}

fn set_interface(file: impl AsFd, request: InterfaceRequest) -> Result<(), Errno> {
    // SAFETY: TUNSETIFF reads a `struct ifreq` at the pointer, which `InterfaceRequest` is laid out as.
    unsafe { ioctl(file, Setter::<TUNSETIFF, InterfaceRequest>::new(request)) }
}

fn set_offloads(file: impl AsFd, offloads: usize) -> Result<(), Errno> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    unsafe { ioctl(file, IntegerSetter::<TUNSETOFFLOAD>::new_usize(offloads)) }
}
