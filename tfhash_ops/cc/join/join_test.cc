// Compares the pairs and groups of the join with a plain loop over pairs.
//
// A standalone program, so that it can run under sanitizers. Prints each claim that does not hold, and
// exits with status 1 if there is any.

#include "join/join_api.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <numeric>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "core/testing.h"
#include "join/near_items.h"

namespace tfhash::join {
namespace {

std::vector<std::string> Kernels() {
  std::vector<std::string> kernels;
#if defined(__x86_64__)
  const bool has_popcnt = __builtin_cpu_supports("popcnt");
  const bool has_avx512 = __builtin_cpu_supports("avx512f");
  if (has_popcnt && has_avx512 && __builtin_cpu_supports("avx512vpopcntdq")) {
    kernels.push_back("avx512");
  }
  if (has_popcnt) kernels.push_back("avx2");
#endif
  kernels.push_back("scalar");
  return kernels;
}

using Pair = std::tuple<int64_t, int64_t, int32_t>;

enum class Spread { kRandom, kEqual, kRepeated, kClustered, kOnePieceAlike };
constexpr Spread kSpreads[] = {Spread::kRandom, Spread::kEqual, Spread::kRepeated,
                               Spread::kClustered, Spread::kOnePieceAlike};

struct JoinCase {
  std::string kernel;
  int64_t count;
  int64_t bits;
  int64_t radius;
  Spread spread;

  std::string Name() const {
    return kernel + ", " + std::to_string(count) + " codes of " +
           std::to_string(bits) + " bits, radius " + std::to_string(radius) + ", spread " +
           std::to_string(static_cast<int>(spread));
  }
};

OwnedCodes CodesFor(const JoinCase& c, std::mt19937& random) {
  const int64_t bytes = (c.bits + 7) / 8;
  OwnedCodes centers(4, bytes), codes(c.count, bytes);
  const auto randomize = [&](uint8_t* code) {
    for (int64_t byte = 0; byte < bytes; ++byte) code[byte] = random();
  };
  for (int64_t i = 0; i < 4; ++i) randomize(centers[i]);
  for (int64_t i = 0; i < c.count; ++i) {
    uint8_t* code = codes[i];
    std::copy_n(centers[random() % 4], bytes, code);
    switch (c.spread) {
      case Spread::kRandom: randomize(code); break;
      case Spread::kEqual: std::fill_n(code, bytes, 0x5A); break;
      case Spread::kRepeated: break;
      case Spread::kClustered:
        for (int64_t flips = random() % 5; flips > 0; --flips) {
          const int64_t bit = random() % c.bits;
          code[bit / 8] ^= 1 << bit % 8;
        }
        break;
      case Spread::kOnePieceAlike:
        randomize(code);
        std::fill_n(code, bytes / 2, 0);
    }
    if (c.bits % 8 != 0) code[bytes - 1] &= (1 << c.bits % 8) - 1;
  }
  return codes;
}

std::vector<Pair> PairsByLoop(const Codes& codes, int64_t radius) {
  std::vector<Pair> pairs;
  for (int64_t i = 0; i < codes.count; ++i) {
    for (int64_t j = i + 1; j < codes.count; ++j) {
      int32_t distance = 0;
      for (int64_t byte = 0; byte < codes.bytes; ++byte) {
        distance += __builtin_popcount(codes[i][byte] ^ codes[j][byte]);
      }
      if (distance <= radius) pairs.emplace_back(i, j, distance);
    }
  }
  return pairs;
}

std::vector<Pair> PairsByStream(PairStream* stream, int64_t limit) {
  std::vector<Pair> pairs;
  std::vector<int64_t> first(limit), second(limit);
  std::vector<int32_t> distances(limit);
  while (int64_t count = stream->Next(limit, first.data(), second.data(), distances.data())) {
    for (int64_t i = 0; i < count; ++i) pairs.emplace_back(first[i], second[i], distances[i]);
  }
  return pairs;
}

void PairsAreThoseOfALoop(const JoinCase& c, const Codes& codes, const std::vector<Pair>& expected) {
  for (const auto& [threads, most_edges, limit] :
       {std::tuple<int64_t, int64_t, int64_t>{1, 1 << 20, 1000}, {3, 1 << 20, 1}, {2, 40, 7}}) {
    // With few edges the join runs many times; too many for a test.
    if (most_edges < 100 && codes.count > 70) continue;
    PairStream stream(codes, c.bits, c.radius, {c.kernel, threads, most_edges, nullptr});
    const std::string name = c.Name() + ", " + std::to_string(most_edges) + " edges";
    Expect(stream.total() == static_cast<int64_t>(expected.size()), "pairs are counted: " + name);
    Expect(PairsByStream(&stream, limit) == expected, "pairs are those of a loop: " + name);
  }
}

void GroupsAreConnected(const JoinCase& c, const Codes& codes, const std::vector<Pair>& pairs) {
  const int64_t count = codes.count;
  std::vector<int64_t> expected(count);
  std::iota(expected.begin(), expected.end(), 0);
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [i, j, distance] : pairs) {
      if (expected[i] == expected[j]) continue;
      expected[i] = expected[j] = std::min(expected[i], expected[j]);
      changed = true;
    }
  }
  std::vector<int32_t> least(count, 1 << 30), most(count, -1);
  for (const auto& [i, j, distance] : pairs) {
    const int64_t group = expected[i];
    least[group] = std::min(least[group], distance);
    most[group] = std::max(most[group], distance);
  }
  std::vector<int64_t> groups(count, -7);
  std::vector<int32_t> nearest(count, -7), farthest(count, -7);
  GroupItems(codes, c.bits, c.radius, {c.kernel, 2, 1, nullptr}, groups.data(), nearest.data(),
             farthest.data());
  bool holds = true;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t group = most[expected[i]] < 0 ? -1 : expected[i];
    holds &= groups[i] == group;
    holds &= nearest[i] == (group < 0 ? -1 : least[group]);
    holds &= farthest[i] == (group < 0 ? -1 : most[group]);
  }
  Expect(holds, "groups are connected, with the range of their pairs: " + c.Name());
}

void BadArgumentsAreRefusedAndCancellationEndsAJoin() {
  const uint8_t codes[] = {1, 2, 3, 0xFF};
  TfhashJoinInput input{codes, 4, 8, 1, 2, 100, "scalar", nullptr};
  void* stream = nullptr;
  int64_t total = 0;
  Expect(TfhashJoinOpen(&input, &stream, &total) == kTfhashJoinDone && total == 2, "a join opens");
  TfhashJoinClose(stream);
  TfhashJoinClose(nullptr);
  for (int64_t TfhashJoinInput::*field :
       {&TfhashJoinInput::count, &TfhashJoinInput::bits, &TfhashJoinInput::radius,
        &TfhashJoinInput::threads, &TfhashJoinInput::most_edges}) {
    TfhashJoinInput wrong = input;
    wrong.*field = -1;
    Expect(TfhashJoinOpen(&wrong, &stream, &total) == kTfhashJoinInvalid, "bad input is refused");
  }
  std::mt19937 random(0);
  const int32_t cancelled = 1;
  OwnedCodes many = CodesFor({"scalar", 5000, 64, 40, Spread::kRandom}, random);
  input = {many[0], 5000, 64, 40, 2, 100, "scalar", &cancelled};
  Expect(TfhashJoinOpen(&input, &stream, &total) == kTfhashJoinCancelled, "a join is cancelled");
}

void LargeJoinsHold(std::mt19937& random) {
  // Large enough for buckets that all threads divide together, and small enough for a loop by kernel.
  constexpr int64_t kCount = (1 << 16) + 500;
  OwnedCodes owned = CodesFor({"scalar", kCount, 24, 1, Spread::kRandom}, random);
  const Codes codes = owned;
  PairStream stream(codes, 24, 1, {Kernels().front(), 2, 1 << 24, nullptr});
  int64_t expected = 0;
  std::vector<int64_t> items(1 << 24);
  for (int64_t i = 0; i < kCount; ++i) {
    const int64_t code = codes[i][0] | codes[i][1] << 8 | int64_t{codes[i][2]} << 16;
    expected += items[code]++;
    for (int bit = 0; bit < 24; ++bit) expected += items[code ^ int64_t{1} << bit];
  }
  Expect(stream.total() == expected, "a large join counts the pairs of a table of all codes");
}

void CheckCase(const JoinCase& c, std::mt19937& random) {
  OwnedCodes codes = CodesFor(c, random);
  const auto expected = PairsByLoop(codes, c.radius);
  PairsAreThoseOfALoop(c, codes, expected);
  GroupsAreConnected(c, codes, expected);
}

int RunAll() {
  std::mt19937 random(0);
  const int64_t kRadii[] = {0, 1, 2, 5, 70, int64_t{1} << 40};
  for (const std::string& kernel : Kernels()) {
    for (const int64_t bits : {1, 7, 13, 64, 65, 130, 1024}) {
      for (const Spread spread : kSpreads) {
        for (const int64_t radius : kRadii) {
          for (const int64_t count : {0, 1, 2, 60, 400}) {
            const bool is_usual = radius == 2 || (radius == 5 && bits == 64);
            if ((count < 3 || count > 60) && !is_usual) continue;
            CheckCase({kernel, count, bits, radius, spread}, random);
          }
        }
      }
    }
    std::printf("kernel %s\n", kernel.c_str());
  }
  BadArgumentsAreRefusedAndCancellationEndsAJoin();
  LargeJoinsHold(random);
  if (failures == 0) std::printf("all claims hold\n");
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tfhash::join

int main() { return tfhash::join::RunAll(); }
