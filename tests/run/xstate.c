/*
 *    Licensed under the Apache License, Version 2.0 (the "License"); you may
 *    not use this file except in compliance with the License. You may obtain
 *    a copy of the License at
 *
 *         http://www.apache.org/licenses/LICENSE-2.0
 *
 *    Unless required by applicable law or agreed to in writing, software
 *    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 *    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 *    License for the specific language governing permissions and limitations
 *    under the License.
 */

/*
 * Makes User-Mode Linux run on processors with registers that it does not know.
 *
 * Linux accepts a process's extended registers from a debugger only if all are
 * set. The guest kernel of Debian 12 knows them up to AVX-512. On a processor
 * with AMX tiles it panics ("ptrace set fp regs failed, errno = 14") when it
 * starts its first process. This ptrace, preloaded into the guest kernel,
 * keeps the values of the registers that the kernel does not set.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

long ptrace(enum __ptrace_request request, ...)
{
	static long (*libc_ptrace)(enum __ptrace_request, ...);
	/* About 11 KiB with AMX; PTRACE_GETREGSET sets iov_len. */
	static char registers[64 * 1024];
	struct iovec all = { registers, sizeof(registers) };
	struct iovec *given;
	va_list arguments;
	void *address, *data;
	pid_t pid;

	va_start(arguments, request);
	pid = va_arg(arguments, pid_t);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);

	if (!libc_ptrace)
		libc_ptrace = dlsym(RTLD_NEXT, "ptrace");
	if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE)
		return libc_ptrace(request, pid, address, data);

	given = data;
	if (libc_ptrace(PTRACE_GETREGSET, pid, address, &all) < 0)
		return -1;
	if (given->iov_len >= all.iov_len)
		return libc_ptrace(request, pid, address, given);
	memcpy(registers, given->iov_base, given->iov_len);
	return libc_ptrace(request, pid, address, &all);
}
