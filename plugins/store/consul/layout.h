// What is kept in consul, and where. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace orch::store::consul {

// The keys below a prefix, which ends with '/':
//   state           see Founding
//   head            see Head
//   object/KIND KEY the objects: the revision that the change was decided on, then the value. So no
//                   two values of an object are equal: consul would take the second for no change.
//                   The space is the least byte of all that a kind may have: so consul's order of
//                   keys is that of kind and key.
//   batch/ID        the number of the batch; nothing: it will never be applied
//   change/NUMBER   what the batch changed
class Layout final {
 public:
  // Fails, naming the setting, unless it is one that config.capnp accepts.
  explicit Layout(std::string prefix);

  const std::string& all() const { return prefix; }
  std::string state() const { return prefix + "state"; }
  std::string head() const { return prefix + "head"; }
  std::string objects() const { return prefix + "object/"; }
  std::string batches() const { return prefix + "batch/"; }
  std::string object(std::string_view kind, std::string_view key) const;
  std::string batch(std::string_view id) const { return batches() + std::string(id); }
  std::string change(uint64_t number) const;

  struct Name {
    std::string kind;
    std::string key;
  };
  // Nothing if the key is no object's.
  std::optional<Name> nameOf(std::string_view consulKey) const;

  // As seal.h does, for a key of this layout.
  std::string sealed(const std::string& consulKey, std::string_view content) const;
  std::optional<std::string_view> unsealed(const std::string& consulKey,
                                           std::string_view value) const;

 private:
  std::string prefix;
};

// Numbers at the beginning of a value: of an object, the revision that it was decided on.
inline constexpr size_t NUMBER_BYTES = sizeof(uint64_t);
std::string withNumber(uint64_t number, std::string_view rest);

// The key `state`: `ID EPOCH TRIMMED LEADER`. Who this state is, who may write, and up to which
// number batches are forgotten.
struct Founding {
  std::string id;
  uint64_t epoch = 0;
  uint64_t trimmed = 0;
  std::string leader;  // who won the last election
  uint64_t index = 0;  // consul's, of the key

  std::string text() const;
  // Nothing if it is none.
  static std::optional<Founding> read(std::string_view text, uint64_t index);
};

// The key `head`: `NUMBER ID` of the last batch. They are counted from 1; that of number 0 has the
// state's own id, and changed nothing.
struct Head {
  uint64_t number = 0;
  std::string batch;
  uint64_t index = 0;  // consul's, of all that the batch wrote

  uint64_t revision() const { return number == 0 ? 0 : index; }
  std::string text() const;
  static std::optional<Head> read(std::string_view text, uint64_t index);
};

// All digits, nothing else.
std::optional<uint64_t> readNumber(std::string_view text);

}  // namespace orch::store::consul
