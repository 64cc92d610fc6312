// Who has a group's image, as strategies are told it.
#include "schedule/scheduling.h"

namespace orch::control::manager {

// Gone through when they have changed, not for every group.
const Scheduling::Bits& Scheduling::holdersOf(const View& view, const std::string& digest) {
  auto& all = *view.base().images;
  if (images.size() >= MAX_IMAGES && images.count(digest) == 0) images.clear();
  auto& known = images[digest];
  if (std::exchange(known.version, all.versionOf(digest)) == known.version) return known.bits;
  known.bits.clear();
  for (auto& id : all.nodesWith(digest)) {
    auto node = view.numberOf(id);
    if (node == NodeNumbers::NONE) continue;
    if (node / 64 >= known.bits.size()) known.bits.resize(node / 64 + 1, 0);
    known.bits[node / 64] |= uint64_t(1) << node % 64;
  }
  return known.bits;
}

// Nothing if nobody has it.
void Scheduling::fillImages(const View& view, schema::TaskSpec::Reader spec,
                            schema::TaskGroup::Builder message) {
  auto digest = text(spec.getContainer().getImageDigest());
  if (view.base().images == nullptr || digest.empty()) return;
  if (view.base().images->versionOf(digest) == 0) return;
  auto& bits = holdersOf(view, digest);
  auto having = message.initHaving(bits.size());
  for (uint32_t i = 0; i < bits.size(); ++i) having.set(i, bits[i]);
}

}  // namespace orch::control::manager
