/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * How the kernel's fields are read, by the offsets that the loader defines
 * (bwtop/capture/fields.py).
 *
 * READ_KERNEL works everywhere.  LOAD is for pointers that a hook was given, or
 * found behind those: where the verifier knows their types (TYPED_POINTERS) it is
 * a plain load, which the verifier turns into one that cannot fault.
 *
 * The loader defines NO_KERNEL_READS where one helper reads kernel and user
 * memory (before 5.5).
 */
#ifndef BWTOP_LOAD_H
#define BWTOP_LOAD_H

#include "bcc.h"

#ifdef NO_KERNEL_READS
#define bpf_probe_read_kernel		bpf_probe_read
#define bpf_probe_read_kernel_str	bpf_probe_read_str
#define bpf_probe_read_user		bpf_probe_read
#endif

#define READ_KERNEL(type, base, offset) ({				\
	type _value = 0;						\
	bpf_probe_read_kernel(&_value, sizeof(_value),			\
			      (void *)((u64)(base) + (offset)));	\
	_value;								\
})

#ifdef TYPED_POINTERS
#define LOAD(type, base, offset) (*(type *)((u64)(base) + (offset)))
#else
#define LOAD	READ_KERNEL
#endif

#if defined(TYPED_POINTERS) && defined(TASK_STORAGE)
#define LOAD_TASK	LOAD	/* 5.11: the running task has a type, and a store */
#define CURRENT_TASK()	bpf_get_current_task_btf()
#else
#define LOAD_TASK	READ_KERNEL
#define CURRENT_TASK()	bpf_get_current_task()
#endif

/*
 * A field of a structure that a pointer does not have for its type, though it
 * points to one: a socket's protocol's own part, a packet's headers.  The cast is
 * a function of the kernel's (6.2) that it makes no code for; the loader makes the
 * call (bwtop/capture/linking.py), and gives the structures' types.
 */
#if defined(TYPED_POINTERS) && defined(CAST_CALL)
static u64 (*call_cast)(u64 pointer, u32 type) = (void *)CAST_CALL;
#define LOAD_AS(type, structure, base, offset) \
	LOAD(type, call_cast((u64)(base), TYPE_##structure), offset)
#else
#define LOAD_AS(type, structure, base, offset) READ_KERNEL(type, base, offset)
#endif

/*
 * Several fields, between two places of a structure.  Where each takes a helper's
 * call, which is dear, they are read at once.
 */
#define READ_SPAN(name, base, first, end)				\
	u64 name[((end) - (first) + 7) / 8] = {};			\
	bpf_probe_read_kernel(name, (end) - (first), (void *)((u64)(base) + (first)))
#define FROM_SPAN(type, name, first, offset) (*(type *)((char *)(name) + ((offset) - (first))))

#ifdef TYPED_POINTERS
#define SPAN(name, base, first, end)		u64 name = (u64)(base)
#define LOAD_SPAN(type, name, first, offset)	LOAD(type, name, offset)
#else
#define SPAN		READ_SPAN
#define LOAD_SPAN	FROM_SPAN
#endif

#if defined(TYPED_POINTERS) && defined(CAST_CALL)
#define SPAN_AS(structure, name, base, first, end) u64 name = call_cast((u64)(base), TYPE_##structure)
#define LOAD_SPAN_AS	LOAD_SPAN
#else
#define SPAN_AS(structure, name, base, first, end) READ_SPAN(name, base, first, end)
#define LOAD_SPAN_AS	FROM_SPAN
#endif

#define LOWER(one, other)	((one) < (other) ? (one) : (other))
#define HIGHER(one, other)	((one) > (other) ? (one) : (other))

/* The struct socket of a file.  With a type from 5.11; before, splice() is counted elsewhere. */
#ifdef TYPED_POINTERS
#define SOCKET_OF_FILE(file)	((u64)bpf_sock_from_file((void *)(file)))
#else
#define SOCKET_OF_FILE(file)	READ_KERNEL(u64, file, FILE_PRIVATE_DATA)
#endif

#endif
