// How a state is read: page by page, all of one revision of etcd.
#include <algorithm>

#include "etcd-store.h"
#include "orch/fail.h"

namespace orch::store::etcd {

namespace {

// The first page's objects may be as large as a batch.
constexpr uint64_t FIRST_PAGE = 16;
// For each page etcd 3.4 walks through its index of all keys behind it: few and large ones.
constexpr uint64_t LARGEST_PAGE = 20'000;
constexpr uint64_t PAGE_BYTES = 4 << 20;
// What is handed over at once keeps the loop for some milliseconds.
constexpr size_t PIECE_BYTES = 256 << 10;

uint64_t nextPage(const RangeAnswer& page) {
  uint64_t bytes = 1;
  for (auto& kv : page.kvs) bytes += kv.key.size() + kv.value.size();
  return std::clamp(PAGE_BYTES * page.kvs.size() / bytes, FIRST_PAGE, LARGEST_PAGE);
}

// An object's key and value as they stand in a page.
struct LoadedObject {
  Layout::Name name;
  uint64_t revision;
  std::string_view value;
};

kj::Promise<void> deliver(schema::ObjectSink::Client& sink, const std::vector<LoadedObject>& page) {
  auto request = sink.objectsRequest();
  auto list = request.initObjects(page.size());
  for (uint32_t i = 0; i < page.size(); ++i) {
    list[i].setKind(page[i].name.kind.c_str());
    list[i].setKey(page[i].name.key.c_str());
    list[i].setRevision(page[i].revision);
    list[i].setValue(kj::arrayPtr(page[i].value.data(), page[i].value.size()).asBytes());
  }
  return request.send().ignoreResult().eagerlyEvaluate(nullptr);
}

// The objects of a page from `position` on, which moves behind the last one.
std::vector<LoadedObject> nextPiece(const EtcdStore& store, const Layout& layout,
                                    const RangeAnswer& page, size_t& position) {
  std::vector<LoadedObject> objects;
  for (size_t bytes = 0; position < page.kvs.size() && bytes < PIECE_BYTES; ++position) {
    auto& kv = page.kvs[position];
    auto name = layout.nameOf(kv.key);
    if (!name) store.failDamaged("a key that is no object's", kv.key, kv.modRevision);
    auto value = layout.unseal(kv.key, kv.value);
    if (!value) {
      store.failDamaged("object '" + name->kind + "/" + name->key + "'", kv.key, kv.modRevision);
    }
    objects.push_back(LoadedObject{kj::mv(*name), kv.modRevision, *value});
    bytes += kv.key.size() + kv.value.size();
  }
  return objects;
}

}  // namespace

Task<Summary> EtcdStore::look() {
  TxnRequest txn;
  txn.thenGet(layout.state()).thenGet(layout.head());
  auto before = knows;
  auto answer = co_await transact(txn);
  auto there = accept(answer, before);
  auto* head = answer.at(1);
  Summary at{head == nullptr ? 0 : head->modRevision, there.epoch, answer.header.revision};
  co_return at;
}

Task<RangeAnswer> EtcdStore::readPage(std::string request) {
  auto text = co_await client.demand("/v3/kv/range", kj::mv(request));
  auto parsing = env.workers().run([text = kj::mv(text)] { return readRange(text); });
  co_return co_await parsing;
}

Task<KnownState> EtcdStore::load(schema::ObjectSink::Client sink) {
  auto first = layout.objects();
  auto end = endOf(first);
  TxnRequest txn;
  txn.thenGet(layout.state()).thenGet(layout.head()).thenRange(first, end, FIRST_PAGE);
  auto before = knows;
  auto answer = co_await transact(txn);
  auto there = accept(answer, before);
  auto* head = answer.at(1);
  answer.at(2);  // it is there
  Summary at{head == nullptr ? 0 : head->modRevision, there.epoch, answer.header.revision};
  auto page = kj::mv(answer.ranges[2]);
  kj::Promise<void> delivered = kj::READY_NOW;
  while (!page.kvs.empty()) {
    // etcd reads on while this page is checked and taken.
    kj::Promise<RangeAnswer> next = RangeAnswer();
    if (page.more) {
      auto from = page.kvs.back().key + '\0';
      next = readPage(rangeRequest(from, end, nextPage(page), at.now));
    }
    for (size_t position = 0; position < page.kvs.size();) {
      auto objects = nextPiece(*this, layout, page, position);
      co_await delivered;
      delivered = deliver(sink, objects);
    }
    if (!page.more) break;
    page = co_await next;
  }
  co_await delivered;
  KnownState loaded{there.id, at.revision, at.epoch};
  co_return kj::mv(loaded);
}

}  // namespace orch::store::etcd
