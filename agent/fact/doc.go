// Package fact observes the machine that an agent runs on: what it is, not
// how it is doing. Load, free memory and used space are samples; how many
// disks there are is a fact.
//
//	/proc /sys /etc ──► Collect ──► mesh.Facts ──► Collector ──► Sender (the link)
//	                                   every Interval, sent when it has changed
//
// Everything is read from files and from the kernel's list of interfaces:
// there is no shell, no other program and no call that a dead network mount
// could hang (sizes come from the block devices, not from statfs). One
// collection costs a few milliseconds of CPU.
//
// What counts is decided so that equal machines look equal, and so that a
// machine on which nothing was changed has nothing to say:
//
//   - A disk is a mounted file system whose block device the kernel knows,
//     once per device, however often it is bind-mounted. Loop, RAM and optical
//     devices are left out, and so is anything without a block device (tmpfs,
//     overlay, NFS, ZFS).
//   - An interface is a port with hardware behind it, or a virtual one (bond,
//     VLAN, bridge) that carries an address. What container engines and
//     hypervisors create and remove by themselves is left out by name, as are
//     link-local and temporary addresses.
//   - The boot time is steadied: the kernel computes it anew from a clock that
//     is being adjusted.
//
// A part that cannot be read leaves its fields empty and is named in the
// error; the others are returned.
//
// The package must not import agent/link; it hands observations to the Sender
// that it is given.
package fact
