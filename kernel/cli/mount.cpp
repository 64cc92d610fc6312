// Mounts.
#include <charconv>

#include "entry.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr kj::StringPtr KEYS =
    "the keys type, source (src), target (dst), readonly (ro), bind-propagation, tmpfs-size and "
    "tmpfs-mode"_kj;

// Sets one field; `tmpfsOption` notes that only a tmpfs has it.
void setField(kj::StringPtr flag, kj::StringPtr text, kj::StringPtr field,
              schema::Mount::Builder mount, bool& tmpfsOption) {
  auto equals = view(field).find('=');
  auto key = view(field).substr(0, equals);
  bool hasValue = equals != std::string_view::npos;
  kj::StringPtr value = hasValue ? field.slice(equals + 1) : ""_kj;
  if (key == "readonly" || key == "ro") {
    if (hasValue && value != "true" && value != "false" && value != "1" && value != "0") {
      badValue(flag, text, "readonly=true or readonly=false");
    }
    mount.setReadOnly(!hasValue || value == "true" || value == "1");
    return;
  }
  if (!hasValue) badValue(flag, text, KEYS);
  if (key == "type") {
    if (value == "bind") {
      mount.setType(schema::Mount::Type::BIND);
    } else if (value == "volume") {
      mount.setType(schema::Mount::Type::VOLUME);
    } else if (value == "tmpfs") {
      mount.setType(schema::Mount::Type::TMPFS);
    } else {
      badValue(flag, text, "type=bind, type=volume or type=tmpfs");
    }
  } else if (key == "source" || key == "src") {
    mount.setSource(value);
  } else if (key == "target" || key == "dst" || key == "destination") {
    mount.setTarget(value);
  } else if (key == "bind-propagation") {
    mount.setPropagation(value);
  } else if (key == "tmpfs-size") {
    mount.setTmpfsSizeBytes(parseSizeBytes("tmpfs-size of --mount", value));
    tmpfsOption = true;
  } else if (key == "tmpfs-mode") {
    uint32_t mode = 0;
    auto result = std::from_chars(value.begin(), value.end(), mode, 8);
    if (value.size() == 0 || result.ec != std::errc() || result.ptr != value.end() ||
        mode > 07777) {
      badValue(flag, text, "an octal tmpfs-mode such as 1777");
    }
    mount.setTmpfsMode(mode);
    tmpfsOption = true;
  } else {
    badValue(flag, text, KEYS);
  }
}

}  // namespace

capnp::Orphan<schema::Mount> parseMount(kj::StringPtr flag, kj::StringPtr text,
                                        capnp::Orphanage orphanage) {
  auto orphan = orphanage.newOrphan<schema::Mount>();
  auto mount = orphan.get();
  mount.setType(schema::Mount::Type::VOLUME);
  bool tmpfsOption = false;
  for (auto& field : splitFields(flag, text)) setField(flag, text, field, mount, tmpfsOption);
  if (mount.asReader().getTarget().size() == 0) {
    badValue(flag, text, "target= with an absolute path in the container");
  }
  if (tmpfsOption && mount.getType() != schema::Mount::Type::TMPFS) {
    badValue(flag, text, "tmpfs-size and tmpfs-mode with type=tmpfs only");
  }
  return orphan;
}

}  // namespace orch::cli
