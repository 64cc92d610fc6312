// orch-image-unpack: one import, for the plugin image.oci, in a process of its own. A stranger's
// archive is read here, so that what goes wrong with it ends here, and so does the memory.
//
//   orch-image-unpack --root DIR --job DIR --source PATH --reference NAME --architecture ARCH
//                     --max-layer-bytes N [--keep yes]
//   orch-image-unpack … --source PATH --only choose|parts|damaged
//
// With `--only choose` the source is a registry's answer; if it is a list of images, the digest of
// the one that suits this node is all that is printed. `parts` and `damaged`: see unpack/parts.h.
//
// stdout: a line `<done bytes> <total bytes> <text>` for each step. stderr: one line if it fails,
// and the exit status is 1. The images are described in `<job>/images`.
#include <errno.h>
#include <kj/debug.h>
#include <kj/exception.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <map>
#include <new>
#include <string>

#include "unpack/confinement.h"
#include "unpack/ingest.h"
#include "unpack/parts.h"

namespace {

int run(const std::map<std::string, std::string>& options) {
  auto option = [&](const char* name) {
    auto found = options.find(name);
    return found == options.end() ? std::string() : found->second;
  };
  orch::image::oci::IngestRequest request;
  request.root = option("--root");
  request.job = option("--job");
  request.source = option("--source");
  request.reference = option("--reference");
  request.architecture = option("--architecture");
  request.maxLayerBytes = strtoull(option("--max-layer-bytes").c_str(), nullptr, 10);
  request.onProgress = [](const std::string& text, uint64_t done, uint64_t total) {
    printf("%llu %llu %s\n", static_cast<unsigned long long>(done),
           static_cast<unsigned long long>(total), text.c_str());
    fflush(stdout);
  };
  orch::image::oci::confine(request.root, request.job, request.source);
  auto only = option("--only");
  if (only == "choose") {
    auto digest = orch::image::oci::chooseForThisNode(request);
    if (!digest.empty()) printf("%s\n", digest.c_str());
    return 0;
  }
  if (only == "parts") {
    for (auto& part : orch::image::oci::partsOf(request.source)) {
      printf("%s %llu\n", part.digest.c_str(), static_cast<unsigned long long>(part.size));
    }
    return 0;
  }
  if (only == "damaged") {
    for (auto& name : orch::image::oci::damagedIn(request.source)) printf("%s\n", name.c_str());
    return 0;
  }
  request.keep = !option("--keep").empty();
  orch::image::oci::ingest(request);
  return 0;
}

// What a system call's failure is to a user.
std::string reasonOf(const kj::Exception& exception) {
  std::string text = exception.getDescription().cStr();
  for (auto& c : text) {
    if (c == '\n') c = ' ';
  }
  return text;
}

}  // namespace

// Of the dev preset: its search for leaks at the end wants /proc and ptrace, which are outside of
// the walls. The tests of what this program is made of look for them.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

int main(int argc, char** argv) {
  // No locale is set: in one of UTF-8 libarchive would compose the letters of names (NFC), so that
  // two files of a layer could become one.
  umask(0022);
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  try {
    return run(options);
  } catch (const kj::Exception& exception) {
    fprintf(stderr, "%s\n", reasonOf(exception).c_str());
  } catch (const std::bad_alloc&) {
    fprintf(stderr, "not enough memory\n");
  } catch (const std::exception& exception) {
    fprintf(stderr, "%s\n", exception.what());
  }
  return 1;
}
