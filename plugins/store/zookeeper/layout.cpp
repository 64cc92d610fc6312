#include "layout.h"

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "lib/seal.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::store::zookeeper {

namespace {

constexpr char HEX[] = "0123456789ABCDEF";

bool isPlain(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '.' || c == '_';
}

std::string escaped(std::string_view text) {
  std::string all;
  for (unsigned char c : text) {
    if (isPlain(c)) {
      all.push_back(static_cast<char>(c));
    } else {
      all.append({'%', HEX[c >> 4], HEX[c & 15]});
    }
  }
  return all;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string all;
  for (size_t i = 0; i < text.size(); ++i) {
    if (isPlain(static_cast<unsigned char>(text[i]))) {
      all.push_back(text[i]);
      continue;
    }
    if (text[i] != '%' || i + 2 >= text.size()) return std::nullopt;
    auto* high = strchr(HEX, text[i + 1]);
    auto* low = strchr(HEX, text[i + 2]);
    if (high == nullptr || low == nullptr || *high == 0 || *low == 0) return std::nullopt;
    all.push_back(static_cast<char>((high - HEX) << 4 | (low - HEX)));
    i += 2;
  }
  return all;
}

std::optional<uint64_t> numberIn(std::string_view text) {
  uint64_t number = 0;
  auto end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

// Up to the next space, which goes too.
std::string_view cutWord(std::string_view& text) {
  auto space = text.find(' ');
  auto word = text.substr(0, space);
  text = space == std::string_view::npos ? std::string_view() : text.substr(space + 1);
  return word;
}

template <typename T>
void append(std::string& bytes, T number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
}
template <typename T>
std::optional<T> cut(std::string_view& bytes) {
  T number;
  if (bytes.size() < sizeof(number)) return std::nullopt;
  memcpy(&number, bytes.data(), sizeof(number));
  bytes.remove_prefix(sizeof(number));
  return number;
}

std::string objectSeal(std::string_view name) { return "object/" + std::string(name); }
std::string changeSeal(uint64_t number) { return "change/" + std::to_string(number); }

// ZooKeeper takes no path with an empty part, or one of dots.
bool isPath(const std::string& path) {
  bool printable = std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < 127; });
  bool around = path.size() >= 2 && path.size() <= 128 && path.front() == '/' && path.back() != '/';
  if (!printable || !around) return false;
  auto parted = path + "/";
  for (auto* bad : {"//", "/./", "/../"}) {
    if (parted.find(bad) != std::string::npos) return false;
  }
  return !parted.starts_with("/zookeeper/");
}

}  // namespace

Layout::Layout(std::string text) : prefix(std::move(text)) {
  if (isPath(prefix)) return;
  fail(
      kj::str("prefix is '", prefix.c_str(),
              "'; accepted: a path of 2 to 128 printable characters that does not end with '/', as "
              "/orch"));
}

std::string Layout::folder(uint32_t number) const {
  char name[3];
  snprintf(name, sizeof(name), "%02x", number & 0xff);
  return objects() + "/" + name;
}
std::string Layout::change(uint64_t number) const {
  return changes() + "/" + std::to_string(number);
}
std::string Layout::object(std::string_view name) const {
  auto sum = checksumOf(kj::arrayPtr(name.data(), name.size()).asBytes());
  return folder(static_cast<uint32_t>(sum % FOLDERS)).append("/").append(name);
}

std::string nameOf(std::string_view kind, std::string_view key) {
  return escaped(kind).append(":").append(escaped(key));
}
std::optional<ObjectName> readName(std::string_view name) {
  auto colon = name.find(':');
  if (colon == 0 || colon == std::string_view::npos) return std::nullopt;
  auto kind = unescaped(name.substr(0, colon));
  auto key = unescaped(name.substr(colon + 1));
  if (!kind || !key || key->empty()) return std::nullopt;
  return ObjectName{*kind, *key};
}

std::string BatchRecord::name() const {
  return std::to_string(number) + (applied ? "+" : "-") + escaped(id);
}
std::optional<BatchRecord> BatchRecord::read(std::string_view name) {
  auto mark = name.find_first_of("+-");
  if (mark == std::string_view::npos) return std::nullopt;
  auto number = numberIn(name.substr(0, mark));
  auto id = unescaped(name.substr(mark + 1));
  if (!number || !id || id->empty()) return std::nullopt;
  return BatchRecord{*number, name[mark] == '+', *id};
}

std::string sealObject(std::string_view name, uint64_t revision, std::string_view value) {
  std::string content;
  content.reserve(sizeof(revision) + value.size());
  append(content, revision);
  return seal(objectSeal(name), content.append(value));
}
std::optional<SealedObject> unsealObject(std::string_view name, std::string_view sealed) {
  auto content = unseal(objectSeal(name), sealed);
  if (!content) return std::nullopt;
  auto revision = cut<uint64_t>(*content);
  if (!revision) return std::nullopt;
  return SealedObject{*revision, *content};
}

std::string sealChange(uint64_t number, schema::Batch::Reader batch) {
  capnp::MallocMessageBuilder message;
  message.setRoot(batch);
  auto ops = message.getRoot<schema::Batch>().getOps();
  std::vector<uint32_t> left;
  size_t bytes = 0;
  for (uint32_t i = 0; i < ops.size(); ++i) {
    if (!ops[i].isPut()) continue;
    auto size = ops[i].getPut().size();
    if (bytes + size <= MAX_RECORDED_BYTES) {
      bytes += size;
    } else {
      left.push_back(i);
      ops[i].initPut(0);
    }
  }
  std::string content;
  append(content, static_cast<uint32_t>(left.size()));
  for (auto index : left) append(content, index);
  // What was left out is a gap in the message: a copy has none.
  capnp::MallocMessageBuilder copy;
  copy.setRoot(message.getRoot<schema::Batch>().asReader());
  auto words = capnp::messageToFlatArray(copy);
  auto flat = words.asBytes().asChars();
  content.append(flat.begin(), flat.size());
  return seal(changeSeal(number), content);
}
std::string sealNoChange(uint64_t number) { return seal(changeSeal(number), {}); }

std::optional<Change> unsealChange(uint64_t number, std::string_view sealed) {
  auto content = unseal(changeSeal(number), sealed);
  if (!content) return std::nullopt;
  Change change;
  if (content->empty()) return change;
  change.applied = true;
  auto count = cut<uint32_t>(*content);
  if (!count) return std::nullopt;
  std::vector<uint32_t> left;
  for (uint32_t i = 0; i < *count; ++i) {
    auto index = cut<uint32_t>(*content);
    if (!index) return std::nullopt;
    left.push_back(*index);
  }
  change.batch = wordsOf(*content);
  auto ops = BatchReader(change.batch).get().getOps().size();
  change.left.resize(ops);
  for (auto index : left) {
    if (index >= ops) return std::nullopt;
    change.left[index] = true;
  }
  return change;
}

std::string Founding::text() const { return id + " " + std::to_string(epoch) + " " + leader; }
std::optional<Founding> Founding::read(std::string_view text) {
  auto id = cutWord(text);
  auto epoch = numberIn(cutWord(text));
  if (id.empty() || !epoch) return std::nullopt;
  return Founding{std::string(id), *epoch, std::string(text)};
}

uint64_t weightOf(std::string_view name, uint64_t revision) {
  std::string object(name);
  append(object, revision);
  return checksumOf(kj::arrayPtr(object.data(), object.size()).asBytes());
}

StateSum sumAfter(StateSum before, uint64_t number, schema::Batch::Reader batch) {
  if (!before) return before;
  uint64_t sum = *before;
  for (auto op : batch.getOps()) {
    auto name = nameOf(viewOf(op.getKind()), viewOf(op.getKey()));
    if (op.getExpected() != 0) sum -= weightOf(name, op.getExpected());
    if (op.isPut()) sum += weightOf(name, number);
  }
  return sum;
}

std::string Head::text() const {
  auto numbers = {number, revision, first};
  std::string all;
  for (auto each : numbers) all += (all.empty() ? "" : " ") + std::to_string(each);
  return sum ? all + " " + std::to_string(*sum) : all;
}
std::optional<Head> Head::read(std::string_view text) {
  auto number = numberIn(cutWord(text));
  auto revision = numberIn(cutWord(text));
  bool summed = text.find(' ') != std::string_view::npos;
  auto first = numberIn(cutWord(text));
  auto sum = summed ? numberIn(text) : StateSum();
  if (!number || !revision || !first || (summed && !sum)) return std::nullopt;
  if (*revision > *number || *first == 0 || *first > *number + 1) return std::nullopt;
  return Head{*number, *revision, *first, sum};
}

}  // namespace orch::store::zookeeper
