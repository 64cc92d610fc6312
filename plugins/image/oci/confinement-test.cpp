#include "unpack/confinement.h"

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/test-host.h"

namespace orch::image::oci {
namespace {

// A store's folder with a job, and a source outside of it.
struct Places {
  Places() : folder("confinement") {
    std::filesystem::create_directories(job());
    std::filesystem::create_directories(source());
    std::ofstream(source() + "/file") << "content";
  }
  std::string root() const { return folder.sub("store").cStr(); }
  std::string job() const { return root() + "/tmp/1"; }
  std::string source() const { return folder.sub("elsewhere/source").cStr(); }
  testing::TestFolder folder;
};

// What `work`, in a process of its own, adds to its list, one line each.
std::string inProcess(const std::function<void(std::vector<std::string>&)>& work) {
  int pipe[2];
  KJ_SYSCALL(pipe2(pipe, O_CLOEXEC));
  pid_t child;
  KJ_SYSCALL(child = fork());
  if (child == 0) {
    std::vector<std::string> lines;
    auto outcome = attemptNow([&]() { work(lines); });
    if (!outcome.ok()) lines.push_back(plainText(outcome.error()).cStr());
    std::string text;
    for (auto& line : lines) text += line + "\n";
    ssize_t ignored = write(pipe[1], text.data(), text.size());
    (void)ignored;
    _exit(0);
  }
  close(pipe[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(pipe[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, n);
  close(pipe[0]);
  int status;
  KJ_SYSCALL(waitpid(child, &status, 0));
  if (!WIFEXITED(status)) text += "ended by signal " + std::to_string(WTERMSIG(status)) + "\n";
  return text;
}

// Adds a line if the system call did not end as it should.
class Expect final {
 public:
  explicit Expect(std::vector<std::string>& lines) : lines(lines) {}
  void works(const char* what, long result) {
    if (result < 0) lines.push_back(std::string(what) + ": " + strerror(errno));
  }
  void fails(const char* what, long result, int error) {
    if (result >= 0) lines.push_back(std::string(what) + " worked");
    if (result < 0 && errno != error) lines.push_back(std::string(what) + ": " + strerror(errno));
  }

 private:
  std::vector<std::string>& lines;
};

TEST_CASE("confinement: what a layer needs can be done in the store, by the names it has",
          "[image][root]") {
  Places places;
  CHECK(inProcess([&](auto& lines) {
          confine(places.root(), places.job(), places.source());
          Expect expect(lines);
          auto file = places.job() + "/file", device = places.job() + "/device";
          int fd = open(file.c_str(), O_CREAT | O_WRONLY, 0600);
          expect.works("create", fd);
          expect.works("chown", fchown(fd, 1000, 1000));
          expect.works("chmod of another's file", fchmod(fd, 04711));
          expect.works("open of another's file", open(file.c_str(), O_RDONLY));
          expect.works("trusted.*", fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0));
          vfs_cap_data caps = {VFS_CAP_REVISION_2, {{1, 0}, {0, 0}}};
          expect.works("file capabilities",
                       fsetxattr(fd, "security.capability", &caps, XATTR_CAPS_SZ_2, 0));
          expect.works("mknod", mknod(device.c_str(), S_IFCHR | 0600, makedev(1, 3)));
          expect.works("rename", rename(file.c_str(), (places.root() + "/file").c_str()));
          expect.works("read the source", open((places.source() + "/file").c_str(), O_RDONLY));
        }) == "");
}

TEST_CASE("confinement: nothing of the host is left but that", "[image][root]") {
  Places places;
  CHECK(
      inProcess([&](auto& lines) {
        confine(places.root(), places.job(), places.source());
        Expect expect(lines);
        for (auto* path : {"/etc/passwd", "/proc/self/status", "/dev/null", "/bin/sh"}) {
          expect.fails(path, open(path, O_RDONLY), ENOENT);
        }
        auto theirs = places.source() + "/new", ours = std::string("/new");
        expect.fails("write to the source", open(theirs.c_str(), O_CREAT | O_WRONLY, 0600), EROFS);
        expect.fails("write beside it", open(ours.c_str(), O_CREAT | O_WRONLY, 0600), EROFS);
        auto device = places.job() + "/device";
        expect.works("mknod", mknod(device.c_str(), S_IFCHR | 0600, makedev(1, 1)));
        expect.fails("open a device", open(device.c_str(), O_RDONLY), EACCES);
        for (int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK}) {
          expect.fails("socket", socket(family, SOCK_DGRAM, 0), EPERM);
        }
        expect.fails("mount", mount("none", "/", "tmpfs", 0, nullptr), EPERM);
        expect.fails("umount", umount2("/", MNT_DETACH), EPERM);
        expect.fails("chroot", chroot("/"), EPERM);
        expect.fails("unshare", unshare(CLONE_NEWUSER), EPERM);
        char* none[] = {nullptr};
        expect.fails("exec", execve((places.source() + "/file").c_str(), none, none), EPERM);
        expect.fails("a privilege back",
                     prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0), EPERM);
        for (int gone : {CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYS_MODULE, CAP_SETUID, CAP_SETPCAP}) {
          if (prctl(PR_CAPBSET_READ, gone) != 0) lines.push_back("keeps " + std::to_string(gone));
        }
        if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) lines.push_back("new privileges");
      }) == "");
}

TEST_CASE("confinement: a source within the store, around it, and one that is missing",
          "[image][root]") {
  Places places;
  auto layout = places.job() + "/layout";
  std::filesystem::create_directories(layout);
  auto reads = [&](const std::string& source, const std::string& path) {
    return inProcess([&](auto& lines) {
      confine(places.root(), places.job(), source);
      Expect expect(lines);
      expect.works("read", open(path.c_str(), O_RDONLY));
      expect.works("write", mkdir((places.job() + "/made").c_str(), 0700));
      expect.works("tidy up", rmdir((places.job() + "/made").c_str()));
    });
  };
  CHECK(reads(layout, layout) == "");
  CHECK(reads(places.folder.path().cStr(), places.source() + "/file") == "");
  CHECK(reads(places.source() + "/file", places.source() + "/file") == "");
  CHECK(reads(places.source() + "/../source/file", places.source() + "/../source/file") == "");
  CHECK(reads("/", "/etc") == "");
  CHECK(reads(places.source() + "/missing", "/") == "No such file or directory\n");
}

TEST_CASE("confinement: a kernel that cannot do it is told so, and nothing is unpacked",
          "[image][root]") {
  Places places;
  auto said = inProcess([&](auto& lines) {
    int errors = open((places.root() + "/errors").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    pid_t child = fork();
    if (child == 0) {
      dup2(errors, STDERR_FILENO);
      prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN);
      auto root = places.root(), job = places.job(), source = places.source();
      execl(UNPACKER, UNPACKER, "--root", root.c_str(), "--job", job.c_str(), "--source",
            source.c_str(), "--architecture", "amd64", nullptr);
      _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    std::ifstream file(places.root() + "/errors");
    std::string line;
    while (std::getline(file, line)) lines.push_back(line);
    lines.push_back("status " + std::to_string(WEXITSTATUS(status)));
  });
  CHECK(said ==
        "images are not unpacked here, since the program that does it cannot be confined: unshare: "
        "Operation not permitted\nstatus 1\n");
  CHECK(std::filesystem::is_empty(places.job()));
}

}  // namespace
}  // namespace orch::image::oci
