/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * How a backend whose pointers are mere numbers reads the kernel's fields.
 */
#define LOAD		READ_KERNEL
#define LOAD_TASK	READ_KERNEL
#define LOAD_AS(type, structure, base, offset) READ_KERNEL(type, base, offset)
#define CURRENT_TASK()	bpf_get_current_task()

#define SOCKET_OF_FILE(file)	READ_KERNEL(u64, file, FILE_PRIVATE_DATA)
