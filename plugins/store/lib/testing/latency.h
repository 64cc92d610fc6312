// What a commit costs beside what the servers themselves take: a change of the same size by the
// same client, alternating with the commits.
#pragma once

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "lib/testing/test-node.h"

namespace orch::store {

class Times final {
 public:
  template <typename F>
  void take(F&& work) {
    auto start = std::chrono::steady_clock::now();
    work();
    std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    all.push_back(took.count());
  }
  double at(double part) {
    std::sort(all.begin(), all.end());
    return all[static_cast<size_t>(static_cast<double>(all.size() - 1) * part)];
  }
  double sum() const {
    double ms = 0;
    for (auto one : all) ms += one;
    return ms;
  }
  void print(const char* what) {
    printf("  %s: p10 %.3f ms, p50 %.3f, p90 %.3f, p99 %.3f\n", what, at(0.1), at(0.5), at(0.9),
           at(0.99));
  }

 private:
  std::vector<double> all;
};

// `bare`: makes of the servers a function that puts a value at a key below its own prefix.
template <typename Backend, typename Bare>
void printLatency(size_t size, Bare&& makeBare) {
  constexpr int TIMES = 1000;
  constexpr uint32_t OBJECTS = 20'000;
  OneNode<Backend> all("latency", size);
  Backend::follower(all.servers);
  conformance::Bench bench(all.node);
  auto put = makeBare(all);
  Times bare, commits, many, loads;
  std::string value(500, 'v');
  auto change = [&](const std::string& key) { return conformance::Change{"task", key, 0, value}; };
  for (int i = 0; i < TIMES; ++i) {
    auto key = "k" + std::to_string(i);
    bare.take([&] { put(key, value); });
    commits.take([&] { bench.mustCommit("b" + key, {change(key)}); });
  }
  many.take([&] {
    std::vector<kj::Promise<conformance::Answer>> sent;
    for (int i = 0; i < TIMES; ++i) {
      auto key = "m" + std::to_string(i);
      sent.push_back(bench.send("b" + key, {change(key)}));
    }
    for (auto& promise : sent) {
      REQUIRE(promise.wait(all.loop.scope).kind == conformance::Answer::COMMITTED);
    }
  });
  for (uint32_t batch = 0; batch * bench.maxOps < OBJECTS; ++batch) {
    std::vector<conformance::Change> changes;
    for (uint32_t i = 0; i < bench.maxOps; ++i) {
      changes.push_back(change(std::to_string(batch * bench.maxOps + i)));
    }
    bench.mustCommit("fill" + std::to_string(batch), changes);
  }
  size_t objects = 0;
  for (int i = 0; i < 5; ++i) loads.take([&] { objects = bench.load().objects.size(); });
  printf("%zu servers\n", size);
  bare.print("a bare change");
  commits.print("a commit");
  printf("  commit p50 / bare p50: %.2f\n", commits.at(0.5) / bare.at(0.5));
  printf("  commits that wait for each other: %.0f/s\n", 1000.0 * TIMES / many.sum());
  printf("  %zu objects of %zu bytes\n", objects, value.size());
  loads.print("a load");
}

}  // namespace orch::store
