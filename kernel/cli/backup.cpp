// `orch cluster backup` and `orch cluster restore`.
#include <fcntl.h>
#include <kj/io.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "human.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/segments/backup-file.h"
#include "output.h"

namespace orch::cli {

namespace {

constexpr Option RESTORE_OPTIONS[] = {
    {"--advertise-addr", "ADDRESS",
     "That other hosts reach this one at, as 10.0.0.1 or 10.0.0.1:2377 (default: the only one)"},
};
constexpr size_t BACKUP_CHUNK = 256 << 10;

// A file that becomes what it is to be in one step, or is gone.
class UnfinishedFile final {
 public:
  explicit UnfinishedFile(kj::StringPtr name)
      : path(name.cStr()), unfinished(unfinishedName(path)) {
    // What lies there may be somebody else's, who would read what it gets.
    if (unlink(unfinished.c_str()) < 0 && errno != ENOENT) failFile("write", path, errno);
    int opened = open(unfinished.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (opened < 0) failFile("write", path, errno);
    file = kj::AutoCloseFd(opened);
  }
  ~UnfinishedFile() noexcept(false) {
    if (!finished) unlink(unfinished.c_str());
  }
  KJ_DISALLOW_COPY(UnfinishedFile);

  int fd() const { return file.get(); }
  void write(kj::ArrayPtr<const kj::byte> bytes) {
    while (bytes.size() > 0) {
      ssize_t n = ::write(file, bytes.begin(), bytes.size());
      if (n < 0 && errno != EINTR) failFile("write", path, errno);
      if (n > 0) bytes = bytes.slice(n, bytes.size());
    }
  }
  void sync() {
    if (fsync(file) < 0 || lseek(file, 0, SEEK_SET) < 0) failFile("write", path, errno);
  }
  void finish() {
    if (rename(unfinished.c_str(), path.c_str()) < 0) failFile("write", path, errno);
    finished = true;
    auto slash = path.rfind('/');
    syncFolder(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
  }

 private:
  const std::string path;
  const std::string unfinished;
  kj::AutoCloseFd file;
  bool finished = false;
};

class FileSink final : public schema::ByteSink::Server {
 public:
  explicit FileSink(UnfinishedFile& file) : file(file) {}
  kj::Promise<void> write(WriteContext context) override {
    file.write(context.getParams().getBytes());
    return kj::READY_NOW;
  }

 private:
  UnfinishedFile& file;
};

// All of it, some at a time. Answers how many bytes it has.
uint64_t readAll(int fd, kj::StringPtr name,
                 kj::FunctionParam<void(kj::ArrayPtr<const kj::byte>)> take) {
  auto buffer = kj::heapArray<kj::byte>(BACKUP_CHUNK);
  uint64_t sum = 0;
  for (;;) {
    ssize_t n = read(fd, buffer.begin(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failFile("read", name.cStr(), errno);
    if (n == 0) return sum;
    sum += static_cast<uint64_t>(n);
    take(buffer.slice(0, n));
  }
}

// Fails, with its name, if it is not whole.
uint64_t checkBackup(int fd, kj::StringPtr name, uint64_t& objects) {
  segments::BackupReader reader(name, [](schema::BackupEntry::Reader) {});
  auto bytes = readAll(fd, name, [&](auto part) { reader.write(part); });
  reader.finish();
  objects = reader.objects();
  return bytes;
}

Task<int> backupCluster(Context& context) {
  auto& name = context.args.operands()[0];
  UnfinishedFile file(name);
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.backupRequest();
  request.setSink(kj::heap<FileSink>(file));
  auto response = co_await request.send();
  file.sync();
  uint64_t objects = 0;
  auto bytes = checkBackup(file.fd(), name, objects);
  auto summary = response.getSummary();
  if (objects != summary.getObjects()) {
    fail(kj::str("the backup '", name, "' came with ", objects, " objects, not ",
                 summary.getObjects(), "; make it again"));
  }
  file.finish();
  schema::ClusterControl::BackupResults::Reader answer = response;
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  context.out.line("Cluster '", summary.getName(), "', as it was at ", timestamp(summary.getAtNs()),
                   ": ", objects, " objects, ", humanSize(bytes), ", are in '", name,
                   "', which was read back.");
  if (summary.getSecrets()) {
    context.out.line("It has the keys of the cluster: keep it where nobody else reads it.");
  }
  co_return 0;
}

Task<int> restoreCluster(Context& context) {
  auto& name = context.args.operands()[0];
  int opened = open(name.cStr(), O_RDONLY | O_CLOEXEC);
  if (opened < 0) failFile("read", name.cStr(), errno);
  kj::AutoCloseFd file(opened);
  uint64_t objects = 0;
  checkBackup(file, name, objects);
  if (lseek(file, 0, SEEK_SET) < 0) failFile("read", name.cStr(), errno);
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.restoreRequest();
  request.setRequestId(context.env.newId());
  if (context.args.given("--advertise-addr")) {
    request.setAddress(context.args.text("--advertise-addr"));
  }
  auto begun = co_await request.send();
  auto upload = begun.getUpload();
  auto buffer = kj::heapArray<kj::byte>(BACKUP_CHUNK);
  for (;;) {
    ssize_t n = read(file, buffer.begin(), buffer.size());
    if (n < 0) failFile("read", name.cStr(), errno);
    if (n == 0) break;
    auto part = upload.writeRequest();
    part.setBytes(buffer.slice(0, n));
    co_await part.send().ignoreResult();
  }
  auto response = co_await upload.finishRequest().send();
  schema::BackupUpload::FinishResults::Reader answer = response;
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  auto summary = answer.getSummary();
  context.out.line("This node is the manager of cluster '", summary.getName(), "', as it was at ",
                   timestamp(summary.getAtNs()), ": ", summary.getObjects(), " objects.");
  if (answer.getAddress().size() > 0) {
    context.out.line("Its workers are called to ", answer.getAddress(),
                     "; other managers are none of its nodes any more.");
  }
  co_return 0;
}

}  // namespace

const Command CLUSTER_BACKUP = {"cluster backup", "FILE",
                                "Write all of the cluster's state into a file", nullptr,
                                backupCluster};
const Command CLUSTER_RESTORE = {"cluster restore", "FILE",
                                 "Make this host the manager of the cluster that a backup is of",
                                 RESTORE_OPTIONS, restoreCluster};

}  // namespace orch::cli
