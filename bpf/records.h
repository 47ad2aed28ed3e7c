/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The records that the kernel side and user space share.  Their Python twins
 * are in bwtop/capture/records.py; both sides assert the sizes.
 */
#ifndef BWTOP_RECORDS_H
#define BWTOP_RECORDS_H

#include "include/linux/types.h"

#define COMM_LEN	16
#define CMDLINE_LEN	256
#define PATH_NAME_LEN	256	/* NAME_MAX + NUL: one component of a path */
#define PATH_LEN	512	/* no component starts beyond this offset */

/*
 * A process for as long as it runs one program: the start (nanoseconds of
 * CLOCK_BOOTTIME) tells a reused PID from its former owner, and exec tells a
 * program from the one that it replaced.
 */
struct process_key {
	u64 start;
	u32 pid;
	u32 exec;	/* the task's self_exec_id; each exec adds 1 */
};

enum role { ROLE_CLIENT, ROLE_SERVER };

/*
 * addr: IPv6, or IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2); all zeros: the
 * remote is not known.  proto: the IP protocol number, PROTO_PACKET for
 * AF_PACKET frames.  port: the service port, host byte order.
 */
struct flow_key {
	struct process_key process;
	u8 proto;
	u8 role;
	u16 port;
	u32 unused;
	u64 addr[2];
};

struct flow_value {
	u64 rx;			/* payload bytes */
	u64 tx;
};

/*
 * A flow at the place that its id says, in one cache line.  The counters only grow.
 * generation: odd while user space takes the id away from the flow, and another even
 * number afterwards: so a socket that remembers the id knows that it is not its own.
 */
struct flow {
	struct flow_value moved;
	struct flow_key key;
	u32 generation;
	u32 unused;
};

/* Ids that are free: count of them, from first on. */
struct free_ids {
	u32 first;
	u32 count;
};

enum process_flags {
	PROCESS_KTHREAD		= 1 << 0,
	PROCESS_EXE_COMPLETE	= 1 << 1,	/* exe reaches the root */
	PROCESS_EXE_DELETED	= 1 << 2,
	PROCESS_CGROUP_COMPLETE	= 1 << 3,
	PROCESS_CMDLINE_CUT	= 1 << 4,
};

/*
 * Paths are components from leaf to root, each ended by NUL: that is the order
 * in which the kernel's trees are walked; user space turns them round.
 */
struct process {
	u32 uid;		/* effective, of the initial user namespace */
	u32 flags;
	u16 cmdline_len;
	u16 exe_len;
	u16 cgroup_len;
	u16 complete;		/* written last */
	char comm[COMM_LEN];	/* of the thread group's leader */
	char cmdline[CMDLINE_LEN];
	char exe[PATH_LEN + PATH_NAME_LEN];
	char cgroup[PATH_LEN + PATH_NAME_LEN];
};

enum heard_kind {
	HEARD_DATAGRAM,		/* from port 53 */
	HEARD_STREAM,		/* what a call read of a stream from port 53 */
	HEARD_FIRST,		/* what a connection sends first */
	HEARD_INITIAL,		/* a datagram that begins with an Initial packet of QUIC */
};

#define HEARD_LEAST	192
#define HEARD_SMALL	512
#define HEARD_MOST	2560
#define HEARD_BYTES	(1 << 20)	/* of the ring */

/* A part of a message that may have names in it; the bytes come behind it. */
struct heard {
	struct process_key process;
	u64 addr[2];
	u64 socket;		/* tells sockets apart */
	u32 offset;		/* bytes that the connection had sent before */
	u16 port;
	u8 kind;
	u8 unused;
	u32 total;		/* bytes that there were */
	u32 length;		/* bytes of them that are here */
};

/* What could not be kept where it belongs; counts since the start. */
struct loss {
	u64 spilled;		/* flows that found no free id */
	u64 spilled_bytes;
	u64 unattributed;	/* updates that found the spill map full too */
	u64 unattributed_bytes;
	u64 unnamed;		/* processes that found the process map full */
	u64 missed;		/* calls of threads that found no room */
	u64 unheard;		/* parts of messages that found no room in the ring */
};

_Static_assert(sizeof(struct process_key) == 16, "process_key");
_Static_assert(sizeof(struct flow_key) == 40, "flow_key");
_Static_assert(sizeof(struct flow_value) == 16, "flow_value");
_Static_assert(sizeof(struct flow) == 64, "flow");
_Static_assert(sizeof(struct free_ids) == 8, "free_ids");
_Static_assert(sizeof(struct process) == 1824, "process");
_Static_assert(sizeof(struct heard) == 56, "heard");
_Static_assert(sizeof(struct loss) == 56, "loss");

#endif
