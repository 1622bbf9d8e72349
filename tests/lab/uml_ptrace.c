/* Put before the C library of a User-Mode Linux kernel (LD_PRELOAD): what its use of ptrace lacks.

   Its programs die with it. They are processes of this machine that it traces, so that their system calls are its own to carry out.
   Is it killed (a power cut of the lab), Linux lets traced processes go, and until their own SIGKILL arrives their calls are this
   machine's: with its files open. Seen: a record of TLS at the beginning of a host's disk, and a disk cut off at the 8 MiB that
   journald gives a new file.

   CPUs with more registers than it knows. It keeps its programs' registers in a buffer of 2,696 bytes: all that a CPU had up to PKRU.
   The host's kernel takes a register set as a whole only (xstateregs_set: EFAULT on any other length), and with AMX it is longer:
   "ptrace set fp regs failed, errno = 14" at the first program. Here the set is filled up to the host's length; what lies behind
   the buffer, the AMX tiles, is said to be empty, so nothing in such a kernel may use them. Where the lengths agree nothing is
   changed. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { kPeekText = 1, kPeekUser = 3, kOldSetOptions = 21 }; /* linux/ptrace.h */
enum { kSetOptions = 0x4200, kGetRegset = 0x4204, kSetRegset = 0x4205, kExitKill = 1 << 20 };
enum { kXstate = 0x202 };                                                         /* NT_X86_XSTATE, linux/elf.h */
enum { kStateBits = 512 };        /* where XSTATE_BV stands, Intel SDM 13.4.2 */
enum { kMost = 16384 };           /* of a register set; with AMX it has 11,008 bytes */
static const uint64_t kTiles = 3U << 17; /* XTILECFG, XTILEDATA in XSTATE_BV */

static _Alignas(64) unsigned char whole[kMost];
static size_t length; /* the host's; 0: not asked yet */

static long set_whole(long pid, void* kind, const struct iovec* given) {
  memset(whole, 0, sizeof whole);
  memcpy(whole, given->iov_base, given->iov_len);
  uint64_t bits;
  memcpy(&bits, whole + kStateBits, sizeof bits);
  bits &= ~kTiles;
  memcpy(whole + kStateBits, &bits, sizeof bits);
  struct iovec filled = {whole, length};
  return syscall(SYS_ptrace, (long)kSetRegset, pid, kind, &filled);
}

long ptrace(int request, ...) {
  va_list rest;
  va_start(rest, request);
  const long pid = va_arg(rest, int);
  void* address = va_arg(rest, void*);
  void* data = va_arg(rest, void*);
  va_end(rest);
  if (request == kSetRegset && (uintptr_t)address == kXstate) {
    const struct iovec* given = data;
    if (length == 0) {
      struct iovec asked = {whole, sizeof whole};
      if (syscall(SYS_ptrace, (long)kGetRegset, pid, address, &asked) == 0) length = asked.iov_len;
    }
    if (length > given->iov_len && given->iov_len >= kStateBits + sizeof kTiles) return set_whole(pid, address, given);
  }
  if (request == kSetOptions || request == kOldSetOptions) data = (void*)((uintptr_t)data | kExitKill);
  if (request >= kPeekText && request <= kPeekUser) { /* the C library returns what the kernel writes */
    long word;
    const long done = syscall(SYS_ptrace, (long)request, pid, address, &word);
    if (done < 0) return done;
    errno = 0; /* the word may be -1 */
    return word;
  }
  return syscall(SYS_ptrace, (long)request, pid, address, data);
}
