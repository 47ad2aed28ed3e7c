/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What BCC declares before our programs, for other compilers and for indexers: so
 * that each file here can be read alone.  Empty with BCC.
 */
#ifndef BWTOP_BCC_H
#define BWTOP_BCC_H

#include "include/linux/types.h"

#ifndef BPF_TABLE

#define BPF_F_TABLE(table, key_type, leaf_type, name, entries, flags)	\
extern struct {								\
	leaf_type *(*lookup)(key_type *key);				\
	int (*insert)(key_type *key, leaf_type *leaf);			\
	int (*update)(key_type *key, leaf_type *leaf);			\
	int (*delete)(key_type *key);					\
} name
#define BPF_STACK(name, leaf_type, entries)				\
extern struct {								\
	int (*push)(leaf_type *leaf, u64 flags);			\
	int (*pop)(leaf_type *leaf);					\
} name
#define BPF_TABLE(table, key_type, leaf_type, name, entries)		\
	BPF_F_TABLE(table, key_type, leaf_type, name, entries, 0)
#define BPF_HASH(name, key_type, leaf_type, entries)			\
	BPF_TABLE("hash", key_type, leaf_type, name, entries)
#define BPF_ARRAY(name, leaf_type, entries)				\
	BPF_TABLE("array", int, leaf_type, name, entries)
#define BPF_ARRAY_OF_MAPS(name, inner, entries)				\
	BPF_TABLE("array_of_maps", int, int, name, entries)
#define BPF_SK_STORAGE(name, leaf_type)					\
	extern struct { leaf_type *(*sk_storage_get)(void *sk, void *leaf, int flags); } name
#define BPF_TASK_STORAGE(name, leaf_type)				\
	extern struct { leaf_type *(*task_storage_get)(void *task, void *leaf, int flags); } name

#define BPF_RINGBUF_OUTPUT(name, pages)					\
	extern struct {							\
		void *(*ringbuf_reserve)(u64 size);			\
		void (*ringbuf_submit)(void *data, u64 flags);		\
		void (*ringbuf_discard)(void *data, u64 flags);		\
	} name

#define BPF_SK_STORAGE_GET_F_CREATE	1
#define BPF_LOCAL_STORAGE_GET_F_CREATE	1

#define bpf_htonl	__builtin_bswap32
#define bpf_ntohs	__builtin_bswap16

/* The parts of the kernel's structs that our programs use. */
struct bpf_sock {
	u32 src_port;
	u32 state;
};

struct bpf_sock_addr {
	u32 user_ip4;
	u32 user_ip6[4];
	u32 user_port;
	u32 type;
	struct bpf_sock *sk;
};

long bpf_probe_read(void *to, u32 size, const void *from);
long bpf_probe_read_str(void *to, u32 size, const void *from);
long bpf_probe_read_kernel(void *to, u32 size, const void *from);
long bpf_probe_read_kernel_str(void *to, u32 size, const void *from);
long bpf_probe_read_user(void *to, u32 size, const void *from);
u64 bpf_get_current_task(void);
void *bpf_get_current_task_btf(void);
u64 bpf_get_current_pid_tgid(void);
void *bpf_skc_to_tcp_sock(void *sk);
void *bpf_sock_from_file(void *file);

#endif
#endif
