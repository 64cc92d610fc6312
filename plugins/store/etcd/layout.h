// What is kept in etcd, and where. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace orch::store::etcd {

// The keys below a prefix, which ends with '/':
//   state           `ID EPOCH TRIMMED`: who this state is, who may write, and the revision up to
//   which
//                   records of batches are gone. Every commit is conditional on exactly this text.
//   leader          who won the last election
//   head            the id of the last batch; its mod_revision is the store's revision
//   object/KIND KEY the objects. The space is the least byte of all that a kind may have: so etcd's
//                   order of keys is that of kind and key.
//   batch/ID        a record for each batch: what it changed, without the values. One without
//                   content stands for a batch that will never be applied.
class Layout final {
 public:
  // Fails, naming the setting, unless it is 2 to 128 printable characters from '/' to '/'.
  explicit Layout(std::string prefix);

  const std::string& all() const { return prefix; }
  std::string state() const { return prefix + "state"; }
  std::string leader() const { return prefix + "leader"; }
  std::string head() const { return prefix + "head"; }
  std::string objects() const { return prefix + "object/"; }
  std::string batches() const { return prefix + "batch/"; }
  std::string object(std::string_view kind, std::string_view key) const;
  std::string batch(std::string_view id) const { return batches() + std::string(id); }

  struct Name {
    std::string kind;
    std::string key;
  };
  // Nothing if the key is no object's.
  std::optional<Name> nameOf(std::string_view etcdKey) const;
  // Nothing if the key is no batch's.
  std::optional<std::string> batchIdOf(std::string_view etcdKey) const;

  // As lib/seal.h does, for a key of this layout.
  std::string seal(std::string_view etcdKey, std::string_view content) const;
  std::optional<std::string_view> unseal(std::string_view etcdKey, std::string_view value) const;

 private:
  std::string prefix;
};

// The content of the key `state`.
struct Founding {
  std::string id;
  uint64_t epoch = 0;
  uint64_t trimmed = 0;

  std::string text() const;
  // Nothing if it is none.
  static std::optional<Founding> read(std::string_view text);
};

}  // namespace orch::store::etcd
