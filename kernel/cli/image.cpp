#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "filter.h"
#include "human.h"
#include "inspect.h"
#include "listing.h"
#include "logins.h"
#include "orch/image-reference.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option IMAGE_LS_OPTIONS[] = {
    {"--digests", nullptr, "Show digests"},
    {"-f,--filter", "FILTER", "Only what matches: reference=NAME[:TAG], dangling=true|false", true},
    ORCH_LIST_OPTIONS  //
};
constexpr Column IMAGE_COLUMNS[] = {
    {"Repository", "REPOSITORY"}, {"Tag", "TAG"},         {"ID", "IMAGE ID"}, {"Digest", nullptr},
    {"CreatedSince", "CREATED"},  {"CreatedAt", nullptr}, {"Size", "SIZE"}};
constexpr Column DIGEST_COLUMNS[] = {
    {"Repository", "REPOSITORY"}, {"Tag", "TAG"},         {"Digest", "DIGEST"}, {"ID", "IMAGE ID"},
    {"CreatedSince", "CREATED"},  {"CreatedAt", nullptr}, {"Size", "SIZE"}};

constexpr Option TRANSFER_OPTIONS[] = {
    {"-q,--quiet", nullptr, "Print no progress"},
};
constexpr Option IMPORT_OPTIONS[] = {
    {"--name", "IMAGE", "Name of the image (default: the names in the archive)"},
    {"-q,--quiet", nullptr, "Print no progress"},
};
constexpr Option RM_OPTIONS[] = {
    {"-f,--force", nullptr, "Remove it even if other names point to it"},
};
constexpr Option PRUNE_OPTIONS[] = {
    {"-a,--all", nullptr, "All that no task uses, not only those without a name"},
    {"-f,--force", nullptr, "Do not ask"},
};

// Shows what the server tells of a transfer: on a terminal one line that changes.
class ProgressPrinter final : public schema::Progress::Server {
 public:
  ProgressPrinter(Output& out, bool quiet) : out(out), quiet(quiet) {}

  kj::Promise<void> update(UpdateContext context) override {
    auto now = context.getParams();
    if (quiet) return kj::READY_NOW;
    if (out.terminal()) {
      auto amount = now.getTotalBytes() > 0 ? kj::str(" ", humanSize(now.getDoneBytes()), "/",
                                                      humanSize(now.getTotalBytes()))
                                            : kj::String();
      auto line = kj::str(now.getText(), amount);
      out.write(kj::str("\r\x1b[2K", ellipsis(line, out.columns() - 1)));
      if (now.getTotalBytes() > 0 && now.getDoneBytes() >= now.getTotalBytes()) out.line();
    } else if (last != now.getText()) {
      out.line(now.getText());
    }
    last = kj::str(now.getText());
    out.flush();
    return kj::READY_NOW;
  }

 private:
  Output& out;
  bool quiet;
  kj::String last;
};

// `registry:5000/team/app:1.2` is a repository and a tag.
struct NameParts {
  kj::String repository = kj::str("<none>");
  kj::String tag = kj::str("<none>");
};
NameParts splitReference(kj::StringPtr reference) {
  NameParts parts;
  if (reference.size() == 0) return parts;
  auto parsed = parseImageReference(reference);
  parts.repository = kj::str(parsed.name().c_str());
  if (!parsed.tag.empty()) parts.tag = kj::str(parsed.tag.c_str());
  return parts;
}

// `nginx`, `nginx:1`, `registry/*`: docker's reference filter, with `*` for what has no slash.
bool isReference(const NameParts& parts, kj::StringPtr wanted) {
  auto whole = kj::str(parts.repository, ":", parts.tag);
  auto matches = [&](kj::StringPtr text) {
    return fnmatch(wanted.cStr(), text.cStr(), FNM_PATHNAME) == 0;
  };
  return matches(parts.repository) || matches(whole);
}

Task<int> listImages(Context& context) {
  Filters filters(context.args, {"reference", {"dangling", "true|false"}});
  bool digests = context.args.on("--digests");
  Listing list(context, digests ? kj::ArrayPtr<const Column>(DIGEST_COLUMNS)
                                : kj::ArrayPtr<const Column>(IMAGE_COLUMNS));
  auto images = co_await context.connection.images();
  auto response = co_await images.listRequest().send();
  auto operands = context.args.operands();
  for (auto image : response.getImages()) {
    auto add = [&](kj::StringPtr reference) {
      auto parts = splitReference(reference);
      auto wanted = [&](kj::StringPtr value) { return isReference(parts, value); };
      bool shown = filters.allow("reference", wanted) &&
                   filters.allowSame("dangling", reference.size() == 0 ? "true" : "false") &&
                   (operands.size() == 0 || wanted(operands[0]));
      if (!shown) return;
      auto id = list.id(image.getId());
      bool known = image.getCreatedAtNs() != 0;
      auto age = known
                     ? kj::str(humanDuration(context.env.nowNs() - image.getCreatedAtNs()), " ago")
                     : kj::str("N/A");
      auto shownId = kj::str(id);
      auto digest = kj::str(image.getDigest());
      list.row(id, image,
               kj::arr(kj::mv(parts.repository), kj::mv(parts.tag),
                       digests ? kj::mv(digest) : kj::mv(shownId),
                       digests ? kj::mv(shownId) : kj::mv(digest), kj::mv(age),
                       known ? timestamp(image.getCreatedAtNs()) : kj::str("N/A"),
                       humanSize(image.getSizeBytes())));
    };
    for (auto reference : image.getReferences()) add(reference);
    if (image.getReferences().size() == 0) add("");
  }
  list.finish();
  co_return 0;
}

void printImage(Output& out, schema::ImageInfo::Reader image) {
  auto names = KJ_MAP(name, image.getReferences()) { return kj::str(name); };
  out.line("Digest: ", image.getDigest());
  out.line("Image: ", names.size() > 0 ? kj::strArray(names, ", ") : kj::str(image.getId()));
}

Task<int> pull(Context& context) {
  bool quiet = context.out.json || context.args.on("--quiet");
  auto images = co_await context.connection.images();
  auto request = images.pullRequest();
  request.setReference(parseWord("IMAGE", context.args.operands()[0], "the name of an image"));
  request.setProgress(kj::heap<ProgressPrinter>(context.out, quiet));
  findLogin(request.getReference(), request.initLogin());
  auto response = co_await request.send();
  auto image = response.getImage();
  if (!context.out.wroteJson(capnp::toDynamic(image))) printImage(context.out, image);
  co_return 0;
}

// The bytes of a file, for an orchd that cannot open it: it is on another host, or it is stdin.
class FileSource final : public schema::ByteSource::Server {
 public:
  FileSource(kj::StringPtr name, kj::AutoCloseFd file) : name(kj::str(name)), file(kj::mv(file)) {}
  kj::Promise<void> read(ReadContext context) override {
    auto most = kj::min(context.getParams().getMost(), buffer.size());
    ssize_t n = 0;
    do {
      n = ::read(file, buffer.begin(), most);
    } while (n < 0 && errno == EINTR);
    if (n < 0) fail(kj::str("cannot read '", name, "': ", strerror(errno)));
    context.getResults().setBytes(buffer.slice(0, n));
    return kj::READY_NOW;
  }

 private:
  kj::String name;
  kj::AutoCloseFd file;
  kj::Array<kj::byte> buffer = kj::heapArray<kj::byte>(1 << 20);
};

schema::ByteSource::Client openSource(kj::StringPtr name) {
  kj::AutoCloseFd file(name == "-" ? dup(STDIN_FILENO) : open(name.cStr(), O_RDONLY | O_CLOEXEC));
  struct stat info = {};
  if (file.get() < 0 || fstat(file, &info) < 0) {
    fail(kj::str("cannot import '", name, "': ", strerror(errno)));
  }
  if (S_ISDIR(info.st_mode)) {
    fail(kj::str("cannot import the folder '", name,
                 "' on another host; make a file of it: tar -C ", name,
                 " -c . | orch image import - IMAGE"));
  }
  return kj::heap<FileSource>(name, kj::mv(file));
}

template <typename Request>
Task<int> sendImport(Context& context, Request request) {
  auto operands = context.args.operands();
  bool quiet = context.out.json || context.args.on("--quiet");
  request.setReference(operands.size() > 1 ? operands[1] : context.args.text("--name"));
  request.setProgress(kj::heap<ProgressPrinter>(context.out, quiet));
  auto response = co_await request.send();
  if (context.out.wroteJson(capnp::toDynamic(response.getImages()))) co_return 0;
  for (auto image : response.getImages()) printImage(context.out, image);
  co_return 0;
}

Task<int> import(Context& context) {
  auto& given = context.args.operands()[0];
  if (given == "-" || context.connection.isRemote()) {
    auto source = openSource(given);
    auto images = co_await context.connection.images();
    auto request = images.importFromRequest();
    request.setSource(kj::mv(source));
    request.setName(given);
    co_return co_await sendImport(context, kj::mv(request));
  }
  char path[PATH_MAX];
  if (realpath(given.cStr(), path) == nullptr) {
    fail(kj::str(
        "cannot import '", given, "': ", strerror(errno),
        "; expected a docker archive, an OCI layout, or a root file system (folder or tar)"));
  }
  auto images = co_await context.connection.images();
  auto request = images.importRequest();
  request.setPath(path);
  co_return co_await sendImport(context, kj::mv(request));
}

Task<int> inspectImages(Context& context) {
  auto images = co_await context.connection.images();
  auto ask = [&](kj::StringPtr name) {
    auto request = images.inspectRequest();
    request.setReference(name);
    return request.send();
  };
  auto get = [](auto& response) { return response.getImage(); };
  co_return co_await inspectEach(context, ask, get);
}

// The services whose tasks a refusal names by their ids, which is all that the image store knows.
Task<std::set<std::string>> servicesIn(Context& context, std::string refusal) {
  std::set<std::string> services;
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.tasksRequest();
  request.initFilter().setNodeId("self");
  auto answer = co_await attempt(request.send());
  if (!answer.ok()) co_return services;
  for (auto task : answer.value().getTasks()) {
    bool named = refusal.find(task.getMeta().getId().cStr()) != std::string::npos;
    if (named) services.insert(task.getServiceName().cStr());
  }
  co_return services;
}

Task<capnp::Response<schema::ImageStore::RemoveResults>> removeOne(
    Context& context, schema::ImageStore::Client& images, kj::StringPtr name) {
  auto request = images.removeRequest();
  request.setReference(name);
  request.setForce(context.args.on("--force"));
  auto response = co_await attempt(request.send());
  if (response.ok()) co_return kj::mv(response.value());
  auto users = co_await servicesIn(context, response.message().cStr());
  if (users.empty()) kj::throwFatalException(kj::mv(response.error()));
  kj::Vector<kj::String> quoted;
  for (auto& user : users) quoted.add(kj::str("'", user.c_str(), "'"));
  fail(kj::str("cannot remove image '", name, "': it is used by ",
               users.size() == 1 ? "service " : "services ", kj::strArray(quoted, ", "),
               "; update or remove what uses it first"));
}

Task<int> remove(Context& context) {
  auto images = co_await context.connection.images();
  kj::Vector<kj::String> removed;
  for (auto& name : context.args.operands()) {
    auto response = co_await attempt(removeOne(context, images, name));
    if (!response.ok()) {
      context.failed(response.error());
      continue;
    }
    for (auto one : response.value().getRemoved()) removed.add(kj::str(one));
  }
  context.out.names(removed);
  co_return context.status;
}

Task<int> prune(Context& context) {
  checkAgreed(context, context.args.on("--all") ? "all images that no task uses"
                                                : "all images without a name");
  auto images = co_await context.connection.images();
  auto request = images.pruneRequest();
  request.setAll(context.args.on("--all"));
  auto response = co_await request.send();
  schema::ImageStore::PruneResults::Reader answer = response;
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  for (auto one : response.getRemoved()) context.out.line(one);
  context.out.line("Total reclaimed space: ", humanSize(response.getFreedBytes()));
  co_return 0;
}

}  // namespace

const Command IMAGE_LS = {"image ls", "[IMAGE[:TAG]]", "List the images of the node",
                          IMAGE_LS_OPTIONS, listImages};
const Command IMAGE_PULL = {"image pull", "IMAGE", "Get an image from its registry",
                            TRANSFER_OPTIONS, pull};
const Command IMAGE_IMPORT = {
    "image import", "PATH|- [IMAGE]",
    "Take in a docker archive, an OCI layout or a root file system (folder or tar)", IMPORT_OPTIONS,
    import};
const Command IMAGE_INSPECT = {"image inspect", "IMAGE...",
                               "Show all that is known of one or more images", INSPECT_OPTIONS,
                               inspectImages};
const Command IMAGE_RM = {"image rm", "IMAGE...", "Remove one or more images", RM_OPTIONS, remove};
const Command IMAGE_PRUNE = {"image prune", "", "Remove images that are not used", PRUNE_OPTIONS,
                             prune};

}  // namespace orch::cli
