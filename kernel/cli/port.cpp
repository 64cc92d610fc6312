// Published ports.
#include "entry.h"
#include "orch/amounts.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr kj::StringPtr FORMS =
    "[published:]target[/tcp|/udp] such as 8080:80, or "
    "published=8080,target=80,protocol=tcp,mode=ingress"_kj;

struct Range {
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t count() const { return last - first + 1; }
};

Range parseRange(kj::StringPtr flag, kj::StringPtr text, std::string_view digits) {
  auto dash = digits.find('-');
  auto first = readDigits(digits.substr(0, dash));
  auto last = dash == std::string_view::npos ? first : readDigits(digits.substr(dash + 1));
  if (!first || !last) badValue(flag, text, FORMS);
  Range range{*first, *last};
  if (range.first < 1 || range.last > 65535 || range.last < range.first) {
    badValue(flag, text, "ports from 1 to 65535");
  }
  return range;
}

schema::PortSpec::Protocol parseProtocol(kj::StringPtr flag, kj::StringPtr text,
                                         std::string_view given) {
  auto name = lowerCase(kj::heapString(given.data(), given.size()));
  if (name == "tcp") return schema::PortSpec::Protocol::TCP;
  if (name == "udp") return schema::PortSpec::Protocol::UDP;
  badValue(flag, text, "tcp or udp as the protocol");
}

void addShort(kj::StringPtr flag, kj::StringPtr text, capnp::Orphanage orphanage, Ports& ports) {
  auto rest = view(text);
  auto protocol = schema::PortSpec::Protocol::TCP;
  auto slash = rest.find('/');
  if (slash != std::string_view::npos) {
    protocol = parseProtocol(flag, text, rest.substr(slash + 1));
    rest = rest.substr(0, slash);
  }
  auto colon = rest.rfind(':');
  bool published = colon != std::string_view::npos;
  if (published && rest.find(':') != colon) {
    badValue(flag, text, "a published port without an address: services publish on every node");
  }
  Range target = parseRange(flag, text, published ? rest.substr(colon + 1) : rest);
  published &= colon != 0;  // `:80` is any port, as without the colon
  Range outside = published ? parseRange(flag, text, rest.substr(0, colon)) : Range{};
  // As docker: a range on the outside may lead to one port.
  bool toOne = published && target.count() == 1;
  if (published && !toOne && outside.count() != target.count()) {
    badValue(flag, text, "two ranges of the same length, or one target");
  }
  uint64_t count = published ? outside.count() : target.count();
  for (uint64_t i = 0; i < count; ++i) {
    auto port = orphanage.newOrphan<schema::PortSpec>();
    port.get().setTarget(static_cast<uint16_t>(target.first + (toOne ? 0 : i)));
    port.get().setPublished(static_cast<uint16_t>(published ? outside.first + i : 0));
    port.get().setProtocol(protocol);
    ports.add(kj::mv(port));
  }
}

void addLong(kj::StringPtr flag, kj::StringPtr text, capnp::Orphanage orphanage, Ports& ports) {
  auto orphan = orphanage.newOrphan<schema::PortSpec>();
  auto port = orphan.get();
  for (auto& field : splitFields(flag, text)) {
    auto all = view(field);
    auto equals = all.find('=');
    auto key = all.substr(0, equals);
    auto value = equals == std::string_view::npos ? "" : all.substr(equals + 1);
    if (key == "target" || key == "published") {
      auto number = readDigits(value);
      bool target = key == "target";
      if (!number || *number > 65535 || (target && *number == 0)) {
        badValue(flag, text, kj::str(target ? "target=1" : "published=0", " to 65535"));
      }
      if (target) {
        port.setTarget(static_cast<uint16_t>(*number));
      } else {
        port.setPublished(static_cast<uint16_t>(*number));
      }
    } else if (key == "protocol") {
      port.setProtocol(parseProtocol(flag, text, value));
    } else if (key == "mode") {
      if (value != "ingress" && value != "host") badValue(flag, text, "mode=ingress or mode=host");
      port.setMode(value == "host" ? schema::PortSpec::PublishMode::HOST
                                   : schema::PortSpec::PublishMode::INGRESS);
    } else if (key == "prefer") {
      if (value != "local") badValue(flag, text, "prefer=local, or nothing of it");
      port.setPreferLocal(true);
    } else {
      badValue(flag, text, "the keys target, published, protocol, mode and prefer");
    }
  }
  if (port.getTarget() == 0) badValue(flag, text, "target=PORT among its keys");
  if (port.getPreferLocal() && port.getMode() == schema::PortSpec::PublishMode::HOST) {
    badValue(flag, text, "prefer=local with mode=ingress: mode=host is local alone");
  }
  ports.add(kj::mv(orphan));
}

}  // namespace

void parsePorts(kj::StringPtr flag, kj::StringPtr text, capnp::Orphanage orphanage, Ports& ports) {
  if (text.findFirst('=') == nullptr) {
    addShort(flag, text, orphanage, ports);
  } else {
    addLong(flag, text, orphanage, ports);
  }
}

}  // namespace orch::cli
