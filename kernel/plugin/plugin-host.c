// orch-plugin-host FILE FD CAPABILITIES KEEPS INODE: gives up what one plugin has not been granted,
// opens its file and lets it serve on the socket FD. CAPABILITIES is a mask in hexadecimal, KEEPS a
// number, both as in orch/descriptor.h. It knows neither the SDK nor Cap'n Proto, so that a plugin
// of another SDK version runs with the one it was linked to.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HOST_MOUNTS = 1, NEW_PRIVILEGES = 2 };

static int refuse(const char* what) {
  fprintf(stderr, "orch-plugin-host: cannot confine the plugin: %s: %s\n", what, strerror(errno));
  return -1;
}

// Root without the rest of root's capabilities, for good: the bounding set holds for what it
// starts.
static int keepCapabilities(uint64_t mask) {
  for (int number = 0; prctl(PR_CAPBSET_READ, number) >= 0; ++number) {
    if (number < 64 && (mask >> number & 1) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, number) < 0) return refuse("PR_CAPBSET_DROP");
  }
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) < 0) return refuse("capget");
  for (int half = 0; half < 2; ++half) {
    data[half].permitted &= (uint32_t)(mask >> 32 * half);
    data[half].effective = data[half].permitted;
    data[half].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, data) < 0) return refuse("capset");
  return 0;
}

// Nobody else's user has rights to give up, nor may he.
static int confine(uint64_t capabilities, unsigned long keeps) {
  if (geteuid() == 0) {
    // Mounts of the host come in, none go out.
    if ((keeps & HOST_MOUNTS) == 0) {
      if (unshare(CLONE_NEWNS) < 0) return refuse("unshare");
      if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) return refuse("mount");
    }
    if (keepCapabilities(capabilities) < 0) return -1;
  }
  if ((keeps & NEW_PRIVILEGES) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
    return refuse("PR_SET_NO_NEW_PRIVS");
  }
  return 0;
}

int main(int argc, char** argv) {
  if (argc != 6) {
    fprintf(stderr,
            "usage: orch-plugin-host FILE FD CAPABILITIES KEEPS INODE (started by orchd)\n");
    return 2;
  }
  if (confine(strtoull(argv[3], NULL, 16), strtoul(argv[4], NULL, 10)) < 0) return 1;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    fprintf(stderr, "orch-plugin-host: %s\n", dlerror());
    return 1;
  }
  // What orchd has checked: another file may have taken its place meanwhile.
  struct stat info;
  if (stat(argv[1], &info) < 0 || info.st_ino != strtoull(argv[5], NULL, 10)) {
    fprintf(stderr, "orch-plugin-host: '%s' was replaced while it was being opened\n", argv[1]);
    return 1;
  }
  int (*serve)(int) = (int (*)(int))dlsym(library, "orch_plugin_serve");
  if (serve == NULL) {
    fprintf(stderr, "orch-plugin-host: '%s' has no symbol orch_plugin_serve\n", argv[1]);
    return 1;
  }
  return serve(atoi(argv[2]));
}
