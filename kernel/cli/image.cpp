#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <string_view>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "filter.h"
#include "human.h"
#include "inspect.h"
#include "name.h"

namespace orch::cli {

namespace {

constexpr Option LS_OPTIONS[] = {
    {"-q,--quiet", nullptr, "Print ids only"},
    {"--digests", nullptr, "Show digests"},
    {"--no-trunc", nullptr, "Do not shorten ids"},
};
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
  std::string_view text(reference.begin(), reference.size());
  if (text.empty()) return parts;
  auto at = text.find('@');
  auto name = text.substr(0, at);
  auto colon = name.rfind(':');
  auto slash = name.rfind('/');
  bool tagged =
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  if (tagged) {
    parts.tag = kj::heapString(name.data() + colon + 1, name.size() - colon - 1);
    name = name.substr(0, colon);
  }
  parts.repository = kj::heapString(name.data(), name.size());
  return parts;
}

Task<int> listImages(Context& context) {
  auto images = co_await context.connection.images();
  auto request = images.listRequest();
  auto response = co_await request.send();
  bool whole = context.args.on("--no-trunc");
  bool digests = context.args.on("--digests");
  if (context.out.json) {
    context.out.document(capnp::toDynamic(response.getImages()));
    co_return 0;
  }
  Table table({"REPOSITORY", "TAG", digests ? "DIGEST"_kj : "IMAGE ID"_kj, "CREATED", "SIZE"});
  for (auto image : response.getImages()) {
    if (context.args.on("--quiet")) {
      context.out.line(shortId(image.getId(), whole));
      continue;
    }
    auto add = [&](kj::StringPtr reference) {
      auto parts = splitReference(reference);
      auto age = image.getCreatedAtNs() == 0
                     ? kj::str("N/A")
                     : kj::str(humanDuration(context.env.nowNs() - image.getCreatedAtNs()), " ago");
      table.row(kj::arr(kj::mv(parts.repository), kj::mv(parts.tag),
                        digests ? kj::str(image.getDigest()) : shortId(image.getId(), whole),
                        kj::mv(age), humanSize(image.getSizeBytes())));
    };
    for (auto reference : image.getReferences()) add(reference);
    if (image.getReferences().size() == 0) add("");
  }
  if (!context.args.on("--quiet")) context.out.table(table);
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
  auto response = co_await request.send();
  if (context.out.json) {
    context.out.document(capnp::toDynamic(response.getImage()));
  } else {
    printImage(context.out, response.getImage());
  }
  co_return 0;
}

Task<int> import(Context& context) {
  auto operands = context.args.operands();
  char path[PATH_MAX];
  if (realpath(operands[0].cStr(), path) == nullptr) {
    fail(kj::str(
        "cannot import '", operands[0], "': ", strerror(errno),
        "; expected a docker archive, an OCI layout, or a root file system (folder or tar)"));
  }
  bool quiet = context.out.json || context.args.on("--quiet");
  auto images = co_await context.connection.images();
  auto request = images.importRequest();
  request.setPath(path);
  request.setReference(operands.size() > 1 ? operands[1] : context.args.text("--name"));
  request.setProgress(kj::heap<ProgressPrinter>(context.out, quiet));
  auto response = co_await request.send();
  if (context.out.json) {
    context.out.document(capnp::toDynamic(response.getImages()));
    co_return 0;
  }
  for (auto image : response.getImages()) printImage(context.out, image);
  co_return 0;
}

Task<int> inspectImages(Context& context) {
  Inspection inspection(context);
  auto images = co_await context.connection.images();
  for (auto& name : context.args.operands()) {
    auto request = images.inspectRequest();
    request.setReference(name);
    auto response = co_await attempt(request.send());
    if (response.ok()) {
      inspection.found(capnp::toDynamic(response.value().getImage()));
    } else {
      inspection.missing(response.error());
    }
  }
  co_return inspection.finish();
}

Task<int> remove(Context& context) {
  auto images = co_await context.connection.images();
  kj::Vector<kj::String> removed;
  int status = 0;
  for (auto& name : context.args.operands()) {
    auto request = images.removeRequest();
    request.setReference(name);
    request.setForce(context.args.on("--force"));
    auto response = co_await attempt(request.send());
    if (!response.ok()) {
      bool alone = context.args.operands().size() == 1;
      if (alone) kj::throwFatalException(kj::mv(response.error()));
      context.out.error(plainText(response.error()));
      status = 1;
      continue;
    }
    for (auto one : response.value().getRemoved()) removed.add(kj::str(one));
  }
  if (context.out.json) {
    for (auto& one : removed) one = jsonText(one);
    context.out.documents(removed);
  } else {
    for (auto& one : removed) context.out.line(one);
  }
  co_return status;
}

// Asks on a terminal; a script is not asked.
bool agreed(Context& context) {
  if (context.args.on("--force") || context.out.json || isatty(STDIN_FILENO) != 1) return true;
  context.out.write(context.args.on("--all")
                        ? "This removes all images that no task uses. Go on? [y/N] "_kj
                        : "This removes all images without a name. Go on? [y/N] "_kj);
  context.out.flush();
  char answer = 'n';
  return ::read(STDIN_FILENO, &answer, 1) == 1 && (answer == 'y' || answer == 'Y');
}

Task<int> prune(Context& context) {
  if (!agreed(context)) co_return 1;
  auto images = co_await context.connection.images();
  auto request = images.pruneRequest();
  request.setAll(context.args.on("--all"));
  auto response = co_await request.send();
  if (context.out.json) {
    context.out.document(capnp::toDynamic(schema::ImageStore::PruneResults::Reader(response)));
    co_return 0;
  }
  for (auto one : response.getRemoved()) context.out.line(one);
  context.out.line("Total reclaimed space: ", humanSize(response.getFreedBytes()));
  co_return 0;
}

}  // namespace

const Command IMAGE_LS = {"image ls", "",        0, 0, "List the images of the node",
                          LS_OPTIONS, listImages};
const Command IMAGE_PULL = {"image pull",     "IMAGE", 1, 1, "Get an image from its registry",
                            TRANSFER_OPTIONS, pull};
const Command IMAGE_IMPORT = {
    "image import",
    "PATH [IMAGE]",
    1,
    2,
    "Take in a docker archive, an OCI layout or a root file system (folder or tar)",
    IMPORT_OPTIONS,
    import,
    Operands::file};
const Command IMAGE_INSPECT = {"image inspect",
                               "IMAGE...",
                               1,
                               ANY_NUMBER,
                               "Show all that is known of one or more images",
                               INSPECT_OPTIONS,
                               inspectImages,
                               Operands::image};
const Command IMAGE_RM = {
    "image rm", "IMAGE...",     1, ANY_NUMBER, "Remove one or more images", RM_OPTIONS,
    remove,     Operands::image};
const Command IMAGE_PRUNE = {"image prune", "",   0, 0, "Remove images that are not used",
                             PRUNE_OPTIONS, prune};

}  // namespace orch::cli
