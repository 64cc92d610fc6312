// The workload of every measurement: `wl LABEL` waits, and exits at once on SIGTERM or SIGINT. (As
// pid 1 a plain `sleep` ignores SIGTERM: every removal would then measure the stop's grace period.)
// It has no C library: 9 KB, so that memory per container shows the orchestrator and not the
// program. It is linked with -static -nostdlib and starts at _start.

enum { SYS_RT_SIGACTION = 13, SYS_PAUSE = 34, SYS_EXIT_GROUP = 231 };
enum { SIGNAL_INT = 2, SIGNAL_TERM = 15 };
enum { FLAG_RESTORER = 0x04000000 };

// struct sigaction as the kernel takes it on x86-64.
struct kernelSigaction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
};

static long systemCall(long number, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                   : "rcx", "r11", "memory");
  return result;
}

static void leave(int signal) {
  (void)signal;
  systemCall(SYS_EXIT_GROUP, 0, 0, 0, 0);
}

// rt_sigreturn: the kernel wants a restorer, although `leave` never returns to it.
__asm__(".globl restore\nrestore: mov $15, %rax\nsyscall\n");
extern void restore(void);

// The kernel enters with a stack that is aligned otherwise than that of a called function.
__attribute__((force_align_arg_pointer)) void _start(void) {
  struct kernelSigaction action = {leave, FLAG_RESTORER, restore, 0};
  systemCall(SYS_RT_SIGACTION, SIGNAL_TERM, (long)&action, 0, 8);
  systemCall(SYS_RT_SIGACTION, SIGNAL_INT, (long)&action, 0, 8);
  for (;;) systemCall(SYS_PAUSE, 0, 0, 0, 0);
}
