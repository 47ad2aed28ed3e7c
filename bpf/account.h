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

#define AF_INET		2
#define AF_INET6	10
#define AF_PACKET	17
#define IPPROTO_TCP	6
#define IPPROTO_UDP	17
#define IPPROTO_UDPLITE	136
#define IPPROTO_RAW	255
#define IPPROTO_MPTCP	262
#define PROTO_PACKET	0	/* IP's own zero is never a socket's protocol */
#define SOCK_STREAM	1
#define SOCK_RAW	3
#define SOCK_SEQPACKET	5
#define MSG_PEEK	0x2
#define MSG_ERRQUEUE	0x2000
#define TCP_ESTABLISHED	1	/* connected datagram sockets have it too */
#define TCP_SYN_SENT	2
#define V4_MAPPED	bpf_htonl(0x0000ffff)

enum direction { RX, TX };


BPF_TABLE("hash", struct flow_key, struct flow_value, bwtop_flows_a, MAX_FLOWS);
BPF_TABLE("hash", struct flow_key, struct flow_value, bwtop_flows_b, MAX_FLOWS);
BPF_ARRAY_OF_MAPS(bwtop_active, "bwtop_flows_a", 1);
BPF_TABLE("hash", struct flow_key, struct flow_value, bwtop_spill, MAX_PROCESSES);
BPF_ARRAY(bwtop_unattributed, struct flow_value, 3);	/* TCP, UDP, other */

/* The far end of one message; port in host byte order, addr as in flow_key. */
struct peer {
	u64 addr[2];
	u16 port;
};

/* What a hook needs to know of a socket, read once. */
struct endpoint {
	struct peer remote;	/* where the socket is connected to, or zeros */
	u16 family;
	u16 protocol;
	u16 type;
	u16 local_port;
	bool connected;
};

static __always_inline void addr_from_v4(u64 addr[2], u32 v4)
{
	addr[0] = 0;
	addr[1] = v4 ? (u64)v4 << 32 | V4_MAPPED : 0;
}

static __always_inline bool is_network(u16 family)
{
	return family == AF_INET || family == AF_INET6;
}

static __always_inline bool is_udp(const struct endpoint *end)
{
	return end->protocol == IPPROTO_UDP || end->protocol == IPPROTO_UDPLITE;
}

static __always_inline bool is_stream(const struct endpoint *end)
{
	return end->type == SOCK_STREAM || end->type == SOCK_SEQPACKET;
}

/* What CRIU puts into a socket's queues is not traffic. */
static __always_inline bool is_repaired(u64 sk, const struct endpoint *end)
{
#ifdef TCP_REPAIR
	return end->protocol == IPPROTO_TCP && is_stream(end) &&
	       LOAD_AS(u8, tcp_sock, sk, TCP_REPAIR) & TCP_REPAIR_MASK;
#else
	return false;
#endif
}

static __always_inline u16 socket_protocol(u64 sk)
{
#ifdef SOCK_PROTOCOL_MASK	/* up to 5.5: a bit-field of one byte, beside another */
	return LOAD(u8, sk, SOCK_PROTOCOL);
#else
	return LOAD(u16, sk, SOCK_PROTOCOL);
#endif
}

static __always_inline void read_endpoint(struct endpoint *end, u64 sk, u16 family)
{
	end->family = family;
	end->protocol = socket_protocol(sk);
	end->type = LOAD(u16, sk, SOCK_TYPE);
	end->remote.addr[0] = 0;
	end->remote.addr[1] = 0;
	end->remote.port = 0;
	end->local_port = 0;
	end->connected = false;
	if (family == AF_PACKET)	/* only struct sock is there */
		return;

	end->local_port = LOAD(u16, sk, SOCK_NUM);
	/* A connection that was reset gave its port back, and can still be read. */
	if (!end->local_port)
		end->local_port = bpf_ntohs(LOAD_AS(u16, inet_sock, sk, INET_SPORT));
	end->remote.port = bpf_ntohs(LOAD(u16, sk, SOCK_DPORT));
	end->connected = LOAD(u8, sk, SOCK_STATE) == TCP_ESTABLISHED;
	if (family == AF_INET) {
		addr_from_v4(end->remote.addr, LOAD(u32, sk, SOCK_DADDR));
	} else {
		end->remote.addr[0] = LOAD(u64, sk, SOCK_V6_DADDR);
		end->remote.addr[1] = LOAD(u64, sk, SOCK_V6_DADDR + 8);
	}
}

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
	int class = key->proto == IPPROTO_TCP ? 0 : key->proto == IPPROTO_UDP ? 1 : 2;

	if (loss) {
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
		struct question who = {
			.key = { .start = key->start, .pid = key->pid },
		};

		call_identify(&who);
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
		.start = LOAD_TASK(u64, leader, TASK_START_BOOTTIME),
		.pid = LOAD_TASK(u32, task, TASK_TGID),
		.proto = flow_protocol(end),
		.role = role,
		.port = role == ROLE_SERVER ? end->local_port : peer->port,
		.addr = { peer->addr[0], peer->addr[1] },
	};

	account(&key, direction, bytes);
}
