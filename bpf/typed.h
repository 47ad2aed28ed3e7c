/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * How a backend whose pointers the verifier knows by type reads the kernel's
 * fields: plain loads, which it turns into ones that cannot fault.
 */
#define LOAD(type, base, offset) (*(type *)((u64)(base) + (offset)))

#ifdef TASK_STORAGE	/* 5.11: the running task has a type, and a store */
#define LOAD_TASK	LOAD
#define CURRENT_TASK()	bpf_get_current_task_btf()
#else
#define LOAD_TASK	READ_KERNEL
#define CURRENT_TASK()	bpf_get_current_task()
#endif

/*
 * A field of a structure that a pointer does not have for its type, though it
 * points to one: a socket's protocol's own part, a packet's headers.  The cast is
 * a function of the kernel's (6.2) that it makes no code for; the loader makes the
 * call (capture/linking.py), and gives the structures' types.
 */
#ifdef CAST_CALL
static u64 (*call_cast)(u64 pointer, u32 type) = (void *)CAST_CALL;
#define LOAD_AS(type, structure, base, offset) \
	LOAD(type, call_cast((u64)(base), TYPE_##structure), offset)
#else
#define LOAD_AS(type, structure, base, offset) READ_KERNEL(type, base, offset)
#endif

/* A struct socket, with its type (5.11; before that splice() is counted elsewhere). */
#define SOCKET_OF_FILE(file)	((u64)bpf_sock_from_file((void *)(file)))
