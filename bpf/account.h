/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The accounting core, the same for every backend: given a socket, a peer and
 * a number of bytes, add them to the running process's flow.
 *
 * A flow has an id, by which bwtop_flows has its counters.  A socket remembers the
 * id of the flow that it moved bytes of last, where sockets can (SOCKET_STORAGE):
 * then an ordinary message finds its counters by that.  The rest, and the first
 * message of a flow, pass bwtop_charge(), where the id is found by the flow's key.
 *
 * Where bytes go, in this order, so that none is lost without a count:
 *   1. the counters of their flow, which user space maps into its memory;
 *   2. the process's '*' remote in bwtop_spill, when there is no free id;
 *   3. one row per protocol class in bwtop_unattributed, when that is full too.
 * All of them only ever grow; user space subtracts what it saw before.
 *
 * User space takes ids away from flows that rest: it makes the generation odd,
 * deletes the key, waits until every program has ended that may have seen either,
 * reads the counters for the last time, and pushes the id to the free ones.
 */
#ifndef BWTOP_ACCOUNT_H
#define BWTOP_ACCOUNT_H

#include "endpoint.h"
#include "identity.h"
#include "listen.h"
#include "records.h"
#include "roles.h"
#include "socket_state.h"

BPF_F_TABLE("array", u32, struct flow, bwtop_flows, MAX_IDS, FLOWS_FLAGS);
/* How often ids of a block, a page of bwtop_flows, were given to flows: what user space has to read. */
BPF_F_TABLE("array", u32, u64, bwtop_blocks, MAX_IDS / IDS_PER_BLOCK + 1, FLOWS_FLAGS);
BPF_HASH(bwtop_ids, struct flow_key, u32, MAX_IDS);
BPF_STACK(bwtop_free, struct free_ids, MAX_IDS);
/* Not 0: everything is attached, and bytes are counted. */
BPF_ARRAY(bwtop_counting, u32, 1);
/* User space updates it to wait for all running programs: maybe_wait_bpf_programs() in kernel/bpf/syscall.c. */
BPF_ARRAY(bwtop_nothing, u32, 1);
BPF_ARRAY_OF_MAPS(bwtop_wait, "bwtop_nothing", 1);
BPF_TABLE("hash", struct flow_key, struct flow_value, bwtop_spill, MAX_PROCESSES);
/* The flows that are in bwtop_spill: each counts as lost once, unless this is full too. */
BPF_F_TABLE("hash", struct flow_key, u32, bwtop_spilled, MAX_IDS, PROCESSES_FLAGS);
BPF_ARRAY(bwtop_unattributed, struct flow_value, 3);	/* TCP, UDP, other */

/*
 * The protocol of the flow's key.  MPTCP counts as the TCP it stands for.  A raw
 * socket is never TCP or UDP to us, whatever number it was opened with.
 */
static __always_inline u8 flow_protocol(const struct endpoint *end)
{
	if (end->family == AF_PACKET)
		return PROTO_PACKET;
	if (end->protocol == IPPROTO_MPTCP)
		return IPPROTO_TCP;
	if (end->type == SOCK_RAW &&
	    (end->protocol == IPPROTO_TCP || end->protocol == IPPROTO_UDP))
		return IPPROTO_RAW;
	return end->protocol;
}

static __always_inline void add(struct flow_value *value, u64 direction, u64 bytes)
{
	__sync_fetch_and_add(direction == RX ? &value->rx : &value->tx, bytes);
}

static __always_inline bool is_counting(void)
{
	int zero = 0;
	u32 *counting = bwtop_counting.lookup(&zero);

	return counting && *counting;
}

static __always_inline void spill(struct charge *charge)
{
	struct flow_key *key = &charge->key;
	struct flow_value blank = {};
	struct flow_value *value;
	struct loss *loss = losses();
	u32 nothing = 0;
	int class = key->proto == IPPROTO_TCP ? 0 : key->proto == IPPROTO_UDP ? 1 : 2;

	if (loss) {
		if (bwtop_spilled.insert(key, &nothing) != -EEXIST)
			__sync_fetch_and_add(&loss->spilled, 1);
		__sync_fetch_and_add(&loss->spilled_bytes, charge->bytes);
	}
	key->addr[0] = 0;
	key->addr[1] = 0;
	key->port = 0;
	key->role = ROLE_CLIENT;
	bwtop_spill.insert(key, &blank);
	value = bwtop_spill.lookup(key);
	if (!value) {
		if (loss) {
			__sync_fetch_and_add(&loss->unattributed, 1);
			__sync_fetch_and_add(&loss->unattributed_bytes, charge->bytes);
		}
		value = bwtop_unattributed.lookup(&class);
	}
	if (value)
		add(value, charge->direction, charge->bytes);
}

static __always_inline bool is_same_flow(const struct flow_key *one, const struct flow_key *other)
{
	const u64 *a = (const u64 *)one, *b = (const u64 *)other;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4];
}

/*
 * The flow of this key, and its id; NULL: it has none.  An entry that user space
 * deletes meanwhile may become another flow's before its value is read, so the
 * flow's own key tells.
 */
static __always_inline struct flow *find_flow(const struct flow_key *key, u32 *id)
{
	u32 *known = bwtop_ids.lookup((struct flow_key *)key);
	struct flow *flow;

	if (!known)
		return NULL;
	*id = *known;
	flow = bwtop_flows.lookup(id);
	if (!flow || !is_same_flow(&flow->key, key))
		return NULL;
	return flow;
}

/* A free id, and the counters at its place; NULL: there is none. */
static __always_inline struct flow *take_id(u32 *id)
{
	struct free_ids free;

	if (bwtop_free.pop(&free))
		return NULL;
	*id = free.first;
	if (free.count > 1) {
		free.first++;
		free.count--;
		bwtop_free.push(&free, 0);
	}
	return bwtop_flows.lookup(id);
}

/* Gives the flow an id.  Who comes second gives its own back: the flow has that of the first. */
static __always_inline void add_flow(struct flow_key *key)
{
	struct free_ids mine = { .count = 1 };
	struct flow *flow;
	u32 block;
	u64 *given;

	identify(&key->process);
	flow = take_id(&mine.first);
	if (!flow)
		return;
	flow->key = *key;
	if (bwtop_ids.insert(key, &mine.first)) {
		bwtop_free.push(&mine, 0);
		return;
	}
	block = mine.first / IDS_PER_BLOCK;
	given = bwtop_blocks.lookup(&block);
	if (given)
		__sync_fetch_and_add(given, 1);
}

/*
 * Charges a flow by its key.  Returns what a socket may remember of it: its id + 1,
 * and above that the generation; 0: nothing.
 *
 * A function of its own, which all programs call: it is most of their code, and
 * inlined into each it would be most of the time that compiling takes.  BCC
 * compiles no such calls, so the loader makes them (capture/linking.py).
 */
u64 bwtop_charge(struct charge *charge)
{
	u32 id = 0;
	struct flow *flow;

	if (!is_counting())
		return 0;
	flow = find_flow(&charge->key, &id);
	if (!flow) {
		add_flow(&charge->key);
		flow = find_flow(&charge->key, &id);
	}
	if (!flow) {
		spill(charge);
		return 0;
	}
	add(&flow->moved, charge->direction, charge->bytes);
	return flow->generation & 1 ? 0 : (u64)flow->generation << 32 | (id + 1);
}

static u64 (*call_charge)(struct charge *charge) = (void *)CHARGE_CALL;

#ifdef SOCKET_STORAGE
/* Adds the bytes to the flow that the socket remembers; false if that is another one. */
static __always_inline bool charge_remembered(const struct socket *socket,
					      const struct charge *charge)
{
	u64 remembered = socket->flow;
	u32 id = (u32)remembered - 1;
	struct flow *flow = bwtop_flows.lookup(&id);

	if (!flow || flow->generation != remembered >> 32 || !is_same_flow(&flow->key, &charge->key))
		return false;
	add(&flow->moved, charge->direction, charge->bytes);
	return true;
}

/* hears: whether what moved may have names in it, and has not been heard elsewhere. */
static __always_inline void charge_flow(struct socket *socket, struct charge *charge, bool hears)
{
	if (!socket)
		call_charge(charge);
	else if (!charge_remembered(socket, charge)) {
		u64 flow = call_charge(charge);

		socket->flow = hears && listen(socket, charge) ? 0 : flow;
	}
}
#else
static __always_inline void charge_flow(struct socket *socket, struct charge *charge, bool hears)
{
	call_charge(charge);
}
#endif

/* As current_process() of identity.h, at less cost. */
static __always_inline struct process_key running_process(void)
{
	u64 task = (u64)CURRENT_TASK();
#ifdef TYPED_POINTERS
	u64 leader = LOAD_TASK(u64, task, TASK_GROUP_LEADER);
	u32 pid = LOAD_TASK(u32, task, TASK_TGID);
#else
	u64 ids = bpf_get_current_pid_tgid();
	u32 pid = ids >> 32;
	u64 leader = (u32)ids == pid ? task : LOAD_TASK(u64, task, TASK_GROUP_LEADER);
#endif
	struct process_key key = {
		.start = LOAD_TASK(u64, leader, TASK_START_BOOTTIME),
		.pid = pid,
		.exec = LOAD_TASK(u32, task, TASK_SELF_EXEC_ID),
	};

	return key;
}

/* What the running process moved through a socket. */
static __always_inline void read_charge(struct charge *charge, u64 sk, struct socket *socket,
					const struct endpoint *end, const struct peer *peer,
					enum direction direction, u64 bytes)
{
	u8 role = role_of(sk, socket, end, peer, direction);

	*charge = (struct charge){
		.key = {
			.process = running_process(),
			.proto = flow_protocol(end),
			.role = role,
			.port = role == ROLE_SERVER ? end->local_port : peer->port,
			.addr = { peer->addr[0], peer->addr[1] },
		},
		.direction = direction,
		.bytes = bytes,
	};
}

/* Charges the running process with the bytes that it moved through a socket. */
static __always_inline void charge_socket(u64 sk, struct socket *socket,
					  const struct endpoint *end, const struct peer *peer,
					  enum direction direction, u64 bytes)
{
	struct charge charge;

	read_charge(&charge, sk, socket, end, peer, direction, bytes);
	charge_flow(socket, &charge, true);
}

static __always_inline void charge(u64 sk, const struct endpoint *end, const struct peer *peer,
				   enum direction direction, u64 bytes)
{
	charge_socket(sk, socket_of(sk), end, peer, direction, bytes);
}

#endif
