/* Lets User Mode Linux 6.1 run on processors with AMX; loaded into linux.uml by uml.rs (LD_PRELOAD).
 *
 * That kernel keeps a process's vector registers in 2696 bytes, as large as AVX-512 needs. Where AMX makes
 * the state larger the host refuses to set a part of it (EFAULT), and the guest panics before its first
 * process runs. Here the part is completed with what the traced process has. */

#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long set_state(pid_t pid, const struct iovec *part)
{
    static char state[65536] __attribute__((aligned(64)));
    struct iovec whole = { state, sizeof state };

    if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &whole) == -1)
        return -1;
    memcpy(state, part->iov_base, part->iov_len < whole.iov_len ? part->iov_len : whole.iov_len);
    return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    pid_t pid = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);

    if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE)
        return set_state(pid, data);
    if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
        return syscall(SYS_ptrace, request, pid, address, data);
    /* The system call stores what it read, the library function returns it. */
    long word;
    long result = syscall(SYS_ptrace, request, pid, address, &word);
    return result == -1 ? -1 : word;
}
