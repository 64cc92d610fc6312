// orch-plugin-host FILE FD: opens one plugin's file and lets it serve on the socket FD. It knows
// neither the SDK nor Cap'n Proto, so that a plugin of another SDK version runs with the one it was
// linked to.
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: orch-plugin-host FILE FD (started by orchd)\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    fprintf(stderr, "orch-plugin-host: %s\n", dlerror());
    return 1;
  }
  int (*serve)(int) = (int (*)(int))dlsym(library, "orch_plugin_serve");
  if (serve == NULL) {
    fprintf(stderr, "orch-plugin-host: '%s' has no symbol orch_plugin_serve\n", argv[1]);
    return 1;
  }
  return serve(atoi(argv[2]));
}
