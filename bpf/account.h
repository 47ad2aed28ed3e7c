/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The accounting core, the same for every backend: given a socket, a peer and
 * a number of bytes, add them to the running process's flow.
 *
 * Where bytes go, in this order, so that none is lost without a count:
 *   1. their flow, in the map that user space has put in the slot of
 *      bwtop_active and takes away again every interval;
 *   2. the process's '*' remote in bwtop_spill, when that map is full;
 *   3. one row per protocol class in bwtop_unattributed, when that is full too.
 * The last two only ever grow; user space subtracts what it saw before.
 */
#ifndef BWTOP_ACCOUNT_H
#define BWTOP_ACCOUNT_H

#include "endpoint.h"
#include "identity.h"
#include "records.h"

BPF_TABLE("hash", struct flow_key, struct flow_value, bwtop_flows_a, MAX_FLOWS);
BPF_TABLE("hash", struct flow_key, struct flow_value, bwtop_flows_b, MAX_FLOWS);
BPF_ARRAY_OF_MAPS(bwtop_active, "bwtop_flows_a", 1);
BPF_TABLE("hash", struct flow_key, struct flow_value, bwtop_spill, MAX_PROCESSES);
/* The flows that are in bwtop_spill: each counts as lost once, unless this is full too. */
BPF_F_TABLE("hash", struct flow_key, u32, bwtop_spilled, MAX_FLOWS, PROCESSES_FLAGS);
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

static __always_inline void add(struct flow_value *value, enum direction direction,
				u64 bytes)
{
	__sync_fetch_and_add(direction == RX ? &value->rx : &value->tx, bytes);
}

static __always_inline struct flow_value *spill(struct flow_key *key, u64 bytes)
{
	struct flow_value blank = {};
	struct flow_value *value;
	struct loss *loss = losses();
	u32 nothing = 0;
	int class = key->proto == IPPROTO_TCP ? 0 : key->proto == IPPROTO_UDP ? 1 : 2;

	if (loss) {
		if (bwtop_spilled.insert(key, &nothing) != -EEXIST)
			__sync_fetch_and_add(&loss->spilled, 1);
		__sync_fetch_and_add(&loss->spilled_bytes, bytes);
	}
	key->addr[0] = 0;
	key->addr[1] = 0;
	key->port = 0;
	key->role = ROLE_CLIENT;
	bwtop_spill.insert(key, &blank);
	value = bwtop_spill.lookup(key);
	if (value)
		return value;

	if (loss) {
		__sync_fetch_and_add(&loss->unattributed, 1);
		__sync_fetch_and_add(&loss->unattributed_bytes, bytes);
	}
	return bwtop_unattributed.lookup(&class);
}

static __always_inline void account(struct flow_key *key, enum direction direction,
				    u64 bytes)
{
	struct flow_value blank = {};
	struct flow_value *value;
	int slot = 0;
	void *flows = bwtop_active.lookup(&slot);

	if (!flows)
		return;		/* not all is attached yet */
	value = bpf_map_lookup_elem(flows, key);
	if (!value) {
		call_identify(&key->process);
		bpf_map_update_elem(flows, key, &blank, BPF_NOEXIST);
		value = bpf_map_lookup_elem(flows, key);
		if (!value)
			value = spill(key, bytes);
		if (!value)
			return;
	}
	add(value, direction, bytes);
}

/* Charges the running process.  role: enum role, decided by the caller. */
static __always_inline void charge(const struct endpoint *end, const struct peer *peer,
				   u8 role, enum direction direction, u64 bytes)
{
	u64 task = (u64)CURRENT_TASK();
	u64 leader = LOAD_TASK(u64, task, TASK_GROUP_LEADER);
	struct flow_key key = {
		.process = {
			.start = LOAD_TASK(u64, leader, TASK_START_BOOTTIME),
			.pid = LOAD_TASK(u32, task, TASK_TGID),
			.exec = LOAD_TASK(u32, task, TASK_SELF_EXEC_ID),
		},
		.proto = flow_protocol(end),
		.role = role,
		.port = role == ROLE_SERVER ? end->local_port : peer->port,
		.addr = { peer->addr[0], peer->addr[1] },
	};

	account(&key, direction, bytes);
}

#endif
