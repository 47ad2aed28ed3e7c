/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Names of remotes in what programs send and receive: copied from the caller's own
 * buffer into a ring that user space reads with the counters.
 *
 * Copied are answers from port 53; what a client's connection sends first if it
 * begins as a TLS hello or as an HTTP request does, except CONNECT: that names
 * another server than the one that it is sent to, and so does what follows it; and
 * the Initial packets of QUIC that a client sends to port 443.
 *
 * All of it is off the path of ordinary messages: it is asked where the socket does
 * not remember its flow.  A socket remembers none until what it sends first is over,
 * and at port 53 never.
 */
#ifndef BWTOP_LISTEN_H
#define BWTOP_LISTEN_H

#include "endpoint.h"
#include "identity.h"
#include "records.h"
#include "socket_state.h"

/* What bwtop_charge() and bwtop_listen() are told. */
struct charge {
	struct flow_key key;
	u64 direction;		/* enum direction */
	u64 bytes;
};

#if defined(NAMES) && defined(SOCKET_STORAGE)
#define DNS_PORT	53
#define QUIC_PORT	443
#define TLS_HANDSHAKE	0x16
#define TLS_RECORD	5	/* bytes of a record before its content */
#define LONGEST_HELLO	0x4100
#define MOST_SEGMENTS	4
#define NO_WAKEUP	1	/* BPF_RB_NO_WAKEUP: nobody waits for the ring */
#define USER_MSGHDR_NAME	0	/* struct user_msghdr, which struct mmsghdr begins with */
#define USER_MSGHDR_IOV	16

BPF_RINGBUF_OUTPUT(bwtop_heard, HEARD_PAGES);

/* What bwtop_listen() is told: addresses of a struct charge and of a struct socket. */
struct listening {
	u64 charge;
	u64 socket;
};

/* struct iovec */
struct segment {
	u64 base;
	u64 length;
};

static u64 (*task_pt_regs)(void *task) = (void *)175;	/* bpf_task_pt_regs(), 5.15 */

/* The message that the running system call was given. */
struct message {
	struct segment whole;	/* if it is in one buffer */
	u64 segments;		/* else an array of struct iovec */
	u64 count;
};

static __always_inline void find_message(struct message *message, u64 regs)
{
	u64 buffer = LOAD(u64, regs, REGS_SECOND);
	u64 count = LOAD(u64, regs, REGS_THIRD);
	struct segment array = {};
	u64 name = 0;

	*message = (struct message){};
	switch (LOAD(u32, regs, REGS_NUMBER)) {
	case NR_READ:
	case NR_WRITE:
	case NR_SENDTO:
	case NR_RECVFROM:
		message->whole.base = buffer;
		message->whole.length = count;
		message->count = 1;
		return;
	case NR_READV:
	case NR_WRITEV:
		message->segments = buffer;
		message->count = count;
		return;
	case NR_SENDMMSG:
		/* Which of them it is, nobody knows: the first may go to another remote. */
		bpf_probe_read_user(&name, sizeof(name), (void *)(buffer + USER_MSGHDR_NAME));
		if (name && count != 1)
			return;
		__attribute__((fallthrough));
	case NR_SENDMSG:
	case NR_RECVMSG:
	case NR_RECVMMSG:
		bpf_probe_read_user(&array, sizeof(array), (void *)(buffer + USER_MSGHDR_IOV));
		message->segments = array.base;
		message->count = array.length;
	}
}

static __always_inline void read_segment(struct segment *segment, const struct message *message,
					 u32 index)
{
	*segment = message->whole;
	if (message->segments)
		bpf_probe_read_user(segment, sizeof(*segment),
				    (void *)(message->segments + index * sizeof(*segment)));
}

static __always_inline void count_unheard(void)
{
	struct loss *loss = losses();

	if (loss)
		__sync_fetch_and_add(&loss->unheard, 1);
}

/*
 * Fills a record that the ring has given room for `most` bytes; false: they cannot be
 * read.  The length goes through the record, where the verifier does not follow it: so
 * it need not try again for each way in which it came about.
 */
static __always_inline bool fill(struct heard *heard, const struct heard *as, u64 base, u32 most)
{
	u32 length;

	*heard = *as;
	length = *(volatile u32 *)&heard->length;
	if (length > most)
		length = most;
	heard->length = length;
	return !bpf_probe_read_user(heard + 1, length, (void *)base);
}

/* Copies a segment, as far as there is room for it in a record: few need the large ones. */
static __always_inline void copy(const struct heard *as, u64 base)
{
	struct heard *heard;
	bool is_read;

	if (as->length <= HEARD_LEAST) {
		heard = bwtop_heard.ringbuf_reserve(sizeof(*heard) + HEARD_LEAST);
		if (!heard) {
			count_unheard();
			return;
		}
		is_read = fill(heard, as, base, HEARD_LEAST);
	} else if (as->length <= HEARD_SMALL) {
		heard = bwtop_heard.ringbuf_reserve(sizeof(*heard) + HEARD_SMALL);
		if (!heard) {
			count_unheard();
			return;
		}
		is_read = fill(heard, as, base, HEARD_SMALL);
	} else {
		heard = bwtop_heard.ringbuf_reserve(sizeof(*heard) + HEARD_MOST);
		if (!heard) {
			count_unheard();
			return;
		}
		is_read = fill(heard, as, base, HEARD_MOST);
	}
	if (is_read)
		bwtop_heard.ringbuf_submit(heard, NO_WAKEUP);
	else
		bwtop_heard.ringbuf_discard(heard, NO_WAKEUP);
}

static __always_inline bool is_request(u32 word)
{
	return word == 0x20544547 ||	/* "GET " */
	       word == 0x44414548 ||	/* HEAD */
	       word == 0x54534f50 ||	/* POST */
	       word == 0x20545550 ||	/* "PUT " */
	       word == 0x454c4544 ||	/* DELE */
	       word == 0x4954504f ||	/* OPTI */
	       word == 0x43544150;	/* PATC */
}

/*
 * How many bytes of what a connection sends may have a name in them, told by the
 * first; 0: none.  A hello's record says its length.
 */
static __always_inline u32 bytes_of_interest(const struct segment *segment)
{
	u8 head[8] = {};

	if (segment->length < sizeof(head)) {
		bpf_probe_read_user(head, 1, (void *)segment->base);
		return head[0] == TLS_HANDSHAKE ? LONGEST_HELLO : 0;
	}
	bpf_probe_read_user(head, sizeof(head), (void *)segment->base);
	if (head[0] == TLS_HANDSHAKE && head[1] == 3)
		return TLS_RECORD + (head[3] << 8 | head[4]);
	return is_request(*(u32 *)head) ? HEARD_SMALL : 0;
}

/* Copies what a connection sends first; false: the rest is of no interest. */
static __always_inline bool hear_first(struct charge *charge, struct socket *socket,
				       struct heard *as, u64 regs)
{
	u32 offset = socket->heard, wanted = socket->wanted, left = charge->bytes;
	struct message message;
	struct segment segment;
	u32 index;

	as->kind = HEARD_FIRST;
	find_message(&message, regs);
	_Pragma("clang loop unroll(disable)")
	for (index = 0; index < MOST_SEGMENTS; index++) {
		/* Else the compiler compares with the lesser of both, which old verifiers do not follow. */
		asm volatile("" : "+r"(index));
		if (index >= message.count)
			break;
		read_segment(&segment, &message, index);
		if (segment.length > left)
			segment.length = left;
		if (!segment.length)
			continue;
		if (!offset)
			wanted = bytes_of_interest(&segment);
		if (offset >= wanted)
			break;
		as->offset = offset;
		as->total = segment.length;
		as->length = segment.length;
		if (as->length > wanted - offset)
			as->length = wanted - offset;
		copy(as, segment.base);
		left -= segment.length;
		offset += segment.length;
	}
	if (offset >= wanted || wanted == HEARD_SMALL || ++socket->looks >= MOST_LOOKS) {
		socket->looks = LOOKED_ENOUGH;
		return false;
	}
	socket->heard = offset;
	socket->wanted = wanted;
	return true;
}

/* Whether a client's Initial packet begins there: of version 1 (RFC 9000) or 2 (RFC 9369). */
static __always_inline bool is_initial(const struct segment *segment)
{
	struct {
		u8 unaligned[3];
		u8 first;
		u32 version;
	} head = {};

	if (segment->length < 5)
		return false;
	bpf_probe_read_user(&head.first, 5, (void *)segment->base);
	return ((head.first & 0xf0) == 0xc0 && head.version == 0x01000000) ||
	       ((head.first & 0xf0) == 0xd0 && head.version == 0xcf43336b);
}

/*
 * Copies an answer of a name server, or a datagram that begins with an Initial packet.
 * Returns whether the next one is to be heard: of QUIC until there is another one, and
 * for one hello at most.
 */
static __always_inline bool hear_datagram(struct charge *charge, struct socket *socket,
					  struct heard *as, u64 regs)
{
	bool is_answer = charge->direction == RX;
	struct message message;
	struct segment segment;

	find_message(&message, regs);
	read_segment(&segment, &message, 0);
	if (segment.length > charge->bytes)
		segment.length = charge->bytes;
	if (!is_answer && !is_initial(&segment)) {
		socket->looks = 0;
		return false;
	}
	if (!segment.length)
		return true;
	as->kind = charge->key.proto == IPPROTO_TCP ? HEARD_STREAM :
		   is_answer ? HEARD_DATAGRAM : HEARD_INITIAL;
	as->total = charge->bytes;
	as->length = segment.length;
	copy(as, segment.base);
	if (is_answer)
		return true;
	socket->looks = (socket->looks + 1) % MOST_LOOKS;
	return socket->looks;
}

/*
 * Listens to a message that may have names in it.  Returns whether the socket's next
 * one is to be heard, too.  A function of its own, like bwtop_charge().
 */
u64 bwtop_listen(struct listening *listening)
{
	struct charge *charge = (struct charge *)listening->charge;
	struct socket *socket = (struct socket *)listening->socket;
	u64 regs = task_pt_regs(bpf_get_current_task_btf());
	struct heard as = {
		.process = charge->key.process,
		.addr = { charge->key.addr[0], charge->key.addr[1] },
		.socket = listening->socket,
		.port = charge->key.port,
	};

	if (charge->direction == TX && charge->key.proto == IPPROTO_TCP)
		return hear_first(charge, socket, &as, regs);
	return hear_datagram(charge, socket, &as, regs);
}

static u64 (*call_listen)(struct listening *listening) = (void *)LISTEN_CALL;

static __always_inline bool listen(struct socket *socket, struct charge *charge)
{
	bool is_tcp = charge->key.proto == IPPROTO_TCP;
	bool is_udp = charge->key.proto == IPPROTO_UDP;
	struct listening listening = {
		.charge = (u64)charge,
		.socket = (u64)socket,
	};

	if (charge->key.role != ROLE_CLIENT)
		return false;
	if (charge->key.port == DNS_PORT && (is_tcp || is_udp)) {
		if (is_tcp)
			socket->looks = LOOKS_DNS;
		if (charge->direction == RX)
			call_listen(&listening);
		return true;
	}
	if (charge->direction != TX || socket->looks >= MOST_LOOKS)
		return false;
	if (!is_tcp && (!is_udp || charge->key.port != QUIC_PORT))
		return false;
	return call_listen(&listening);
}
#else
static __always_inline bool listen(struct socket *socket, struct charge *charge)
{
	return false;
}
#endif

#endif
