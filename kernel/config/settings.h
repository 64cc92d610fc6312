// From the manifest's table to the Cap'n Proto struct that a plugin's settings are, and back to
// TOML.
#pragma once

#include <capnp/dynamic.h>
#include <capnp/message.h>
#include <capnp/schema-loader.h>
#include <capnp/schema.capnp.h>
#include <capnp/serialize.h>

#include <map>
#include <string>

#include "kernel/config/tree.h"

namespace orch::config {

// The section .orch.schema of a plugin's file: its config.capnp and the interfaces of the SDK that
// it was built with. Reading fails if it is damaged.
class CompiledSchema final {
 public:
  explicit CompiledSchema(kj::ArrayPtr<const kj::byte> content);
  capnp::schema::CodeGeneratorRequest::Reader root() {
    return reader.getRoot<capnp::schema::CodeGeneratorRequest>();
  }

 private:
  kj::Array<capnp::word> words;
  capnp::FlatArrayMessageReader reader;
};

// The settings of one plugin.
class SettingsSchema final {
 public:
  SettingsSchema(kj::ArrayPtr<const kj::byte> content, uint64_t typeId);
  KJ_DISALLOW_COPY(SettingsSchema);

  // Fills a struct in `message`. A field whose name ends in `Ms` also takes a duration text, one in
  // `Bytes` a size text. A field may say with the annotations of sdk/schema/settings.capnp what it
  // accepts. Fails with file, line, key and what is accepted.
  void read(const Table& table, const std::string& pluginId, capnp::MessageBuilder& message) const;
  // One `key = value` line per field, each below its comment.
  std::string toToml(capnp::MessageBuilder& message, bool comments) const;
  // An all-default struct.
  void defaults(capnp::MessageBuilder& message) const;

 private:
  capnp::SchemaLoader loader;
  capnp::StructSchema type;
  std::map<std::string, std::string> commentOf;  // by field of `type`
};

}  // namespace orch::config
