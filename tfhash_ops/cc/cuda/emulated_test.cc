// Compares the CUDA functions, run in the emulation of emulation.h, with the core.
//
// A standalone program, so that it can run under sanitizers. Prints each claim that does not hold, and
// exits with status 1 if there is any.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/testing.h"
#include "cuda/hamming.h"
#include "cuda/selection.h"

namespace tfhash::cuda {
namespace {

// A device of `warps` warps. Its memory is poisoned heap memory that lives as long as it does.
class Emulated {
 public:
  Emulated(int64_t warps, int64_t scratch_bytes) : warps_(warps), scratch_bytes_(scratch_bytes) {}

  Device device() {
    return {nullptr, warps_, scratch_bytes_, [this](int64_t bytes) {
              memory_.push_back(std::make_unique<char[]>(bytes));
              std::fill_n(memory_.back().get(), bytes, '\x5A');
              return static_cast<void*>(memory_.back().get());
            }};
  }

 private:
  int64_t warps_;
  int64_t scratch_bytes_;
  std::vector<std::unique_ptr<char[]>> memory_;
};

struct Case {
  int64_t queries;
  int64_t items;
  int64_t bytes;
  Layout layout;
  int64_t warps = 8;
  int64_t scratch_bytes = int64_t{1} << 24;

  std::string Name() const {
    return std::to_string(queries) + " x " + std::to_string(items) + " codes of " +
           std::to_string(bytes) + " bytes, layout " + std::to_string(static_cast<int>(layout)) +
           ", " + std::to_string(warps) + " warps, " + std::to_string(scratch_bytes) + " bytes";
  }
};

void DistancesEqualTheCore(const Case& c, const Codes& queries, const Codes& database) {
  std::vector<int32_t> distances(queries.count * database.count, -1), expected(distances);
  tfhash::HammingDistance(ScalarKernel(), queries, database, expected.data(), {});
  HammingDistance(Emulated(c.warps, c.scratch_bytes).device(), queries, database,
                  distances.data());
  Expect(distances == expected, "distances equal those of the core: " + c.Name());
}

template <typename Index>
void TopKEqualsTheCore(const Case& c, const Codes& queries, const Codes& database, int64_t k) {
  std::vector<int32_t> distances(queries.count * k, -1), expected_distances(distances);
  std::vector<int64_t> expected_indices(queries.count * k, -1);
  std::vector<Index> indices(queries.count * k, -1);
  tfhash::HammingTopK(ScalarKernel(), queries, database, k, expected_distances.data(),
                      expected_indices.data(), {});
  HammingTopK(Emulated(c.warps, c.scratch_bytes).device(), queries, database, k, distances.data(),
              indices.data());
  Expect(distances == expected_distances &&
             std::equal(indices.begin(), indices.end(), expected_indices.begin()),
         "top k equals that of the core, k = " + std::to_string(k) + ": " + c.Name());
}

template <typename Index>
void WithinEqualsTheCore(const Case& c, const Codes& queries, const Codes& database,
                           int64_t radius) {
  const Neighbors expected = tfhash::HammingWithin(ScalarKernel(), queries, database, radius, {});
  const int64_t found = expected.row_splits.back();
  for (int64_t size : {found + 40, found / 2}) {
    std::vector<int32_t> distances(size, -9);
    std::vector<Index> row_splits(queries.count + 1, -9), indices(size, -9);
    Emulated emulated(c.warps, c.scratch_bytes);
    bool holds = HammingWithin(emulated.device(), queries, database, radius, size,
                               row_splits.data(), distances.data(), indices.data()) == found;
    FillUp(emulated.device(), found, size, distances.data(), indices.data());
    holds &= std::equal(row_splits.begin(), row_splits.end(), expected.row_splits.begin());
    for (int64_t i = 0; i < size; ++i) {
      holds &= distances[i] == (i < found ? expected.distances[i] : -1);
      holds &= indices[i] == (i < found ? expected.indices[i] : -1);
    }
    Expect(holds, "within equals that of the core, radius " + std::to_string(radius) + ", space for " +
                      std::to_string(size) + ": " + c.Name());
  }
}

template <typename Index, typename Label>
void HistogramEqualsTheCore(const Case& c, const Codes& queries, const Codes& database,
                              std::mt19937& random) {
  std::vector<int64_t> query_labels(queries.count), database_labels(database.count);
  for (int64_t& label : query_labels) label = random() % 5 - 1;
  for (int64_t& label : database_labels) label = random() % 4;
  const std::vector<Label> narrow_query_labels(query_labels.begin(), query_labels.end());
  const std::vector<Label> narrow_labels(database_labels.begin(), database_labels.end());
  const OwnedCodes query_tags = MakeCodes(queries.count, 3, Layout::kFewDistinct, random);
  const OwnedCodes tags = MakeCodes(database.count, 3, Layout::kFewDistinct, random);

  const int64_t bits = 8 * queries.bytes;
  const size_t size = queries.count * (bits + 1);
  std::vector<int64_t> expected(size), expected_relevant(size);
  std::vector<Index> items(size, -1), relevant(size, -1);
  const auto equal = [&] {
    return std::equal(items.begin(), items.end(), expected.begin()) &&
           std::equal(relevant.begin(), relevant.end(), expected_relevant.begin());
  };
  tfhash::HammingHistogram(ScalarKernel(), queries, database, query_labels.data(),
                           database_labels.data(), bits, expected.data(),
                           expected_relevant.data(), {});
  HammingHistogram(Emulated(c.warps, c.scratch_bytes).device(), queries, database,
                   narrow_query_labels.data(), narrow_labels.data(), bits, items.data(),
                   relevant.data());
  Expect(equal(), "histogram equals that of the core: " + c.Name());

  tfhash::HammingHistogram(ScalarKernel(), queries, database, query_tags, tags, bits,
                           expected.data(), expected_relevant.data(), {});
  HammingHistogram(Emulated(c.warps, c.scratch_bytes).device(), queries, database,
                   static_cast<Codes>(query_tags), static_cast<Codes>(tags), bits, items.data(),
                   relevant.data());
  Expect(equal(), "multi-hot histogram equals that of the core: " + c.Name());
}

void CheckCase(const Case& c, std::mt19937& random) {
  const OwnedCodes database = MakeCodes(c.items, c.bytes, c.layout, random);
  const OwnedCodes queries = MakeCodes(c.queries, c.bytes, Layout::kFewDistinct, random);
  DistancesEqualTheCore(c, queries, database);
  for (int64_t k : {int64_t{1}, c.items / 17, c.items}) {
    if (k < 1 || k > c.items) continue;
    TopKEqualsTheCore<int32_t>(c, queries, database, k);
    TopKEqualsTheCore<int64_t>(c, queries, database, k);
  }
  for (int64_t radius : {int64_t{0}, 3 * c.bytes, int64_t{1} << 40}) {
    WithinEqualsTheCore<int32_t>(c, queries, database, radius);
    WithinEqualsTheCore<int64_t>(c, queries, database, radius);
  }
  HistogramEqualsTheCore<int32_t, int32_t>(c, queries, database, random);
  HistogramEqualsTheCore<int64_t, int64_t>(c, queries, database, random);
}

// Pushes candidates to a selection whose limit is lowered from outside between steps, as concurrent
// warps do.
__global__ void SelectBeside(const int32_t* distances, int steps, int k, const int32_t* limits,
                             Candidate* candidates, int* count) {
  int32_t limit = INT32_MAX;
  int found = 0;
  for (int step = 0; step < steps; ++step) {
    limit = std::min(limit, limits[step]);
    const int i = step * kLanes + Lane();
    Push(candidates, &found, &limit, k, {distances[i], static_cast<uint32_t>(i)});
  }
  if (found > k) {
    KeepNearest(candidates, found, k);
    found = k;
  }
  if (Lane() == 0) *count = found;
}

// Candidates below all limits must be kept if they are among the k nearest, and none may be kept twice.
void ASelectionAllowsItsLimitToBeLowered(std::mt19937& random) {
  for (int trial = 0; trial < 200; ++trial) {
    // The limit drops in one step, when there are already many farther candidates.
    const int steps = 1 + random() % 40, k = 1 + random() % 70, lowest = 8, fall = random() % 5;
    std::vector<int32_t> distances(steps * kLanes), limits(steps);
    for (int32_t& distance : distances) distance = random() % 60;
    for (int step = 0; step < steps; ++step) limits[step] = step < fall ? INT32_MAX : lowest;
    std::vector<Candidate> candidates(RoomOfSelection(k));
    int count = -1;
    Launch(SelectBeside, 1, nullptr, distances.data(), steps, k, limits.data(), candidates.data(),
           &count);

    std::vector<std::pair<int32_t, uint32_t>> expected, kept;
    for (size_t i = 0; i < distances.size(); ++i) {
      if (distances[i] < lowest) expected.emplace_back(distances[i], i);
    }
    std::sort(expected.begin(), expected.end());
    if (expected.size() > static_cast<size_t>(k)) expected.resize(k);
    bool holds = count <= k;
    for (int i = 0; holds && i < count; ++i) {
      kept.emplace_back(candidates[i].distance, candidates[i].index);
      holds &= i == 0 || candidates[i - 1].index < candidates[i].index;
    }
    std::sort(kept.begin(), kept.end());
    holds &= kept.size() >= expected.size() &&
             std::equal(expected.begin(), expected.end(), kept.begin());
    Expect(holds, "a selection allows its limit to be lowered from outside, trial " +
                      std::to_string(trial));
  }
}

void PaddingBitsAreFound(std::mt19937& random) {
  OwnedCodes codes = MakeCodes(70, 2, Layout::kEqual, random);
  const auto first = [&](int64_t bits) {
    return FindPaddingBits(Emulated(1, 0).device(), codes, bits);
  };
  Expect(first(16) == -1, "codes of whole bytes have no padding bits");
  Expect(first(15) == 0, "padding bits of the first code are found");
  const OwnedCodes none = MakeCodes(0, 2, Layout::kEqual, random);
  Expect(FindPaddingBits(Emulated(1, 0).device(), none, 12) == -1, "no codes have none");
  std::fill_n(codes[0], 50 * 2, 0);
  Expect(first(15) == 50, "the first code with padding bits is found");
}

int Main() {
  std::mt19937 random(1);
  for (int64_t bytes : {1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 17, 32, 100, 800}) {
    CheckCase({5, 300 + bytes, bytes, kLayouts[bytes % 4]}, random);
  }
  for (int64_t items : {0, 1, 255, 256, 257, 513}) {
    for (int64_t queries : {0, 1, 31, 32, 33, 70}) {
      CheckCase({queries, items, 2, kLayouts[(items + queries) % 4]}, random);
    }
  }
  PaddingBitsAreFound(random);
  ASelectionAllowsItsLimitToBeLowered(random);
  // Several slices; and too little memory for all queries, or for more than one slice.
  for (Layout layout : kLayouts) {
    for (int64_t scratch_bytes : {1 << 24, 1 << 18, 1}) {
      CheckCase({33, 9000, 3, layout, 40, scratch_bytes}, random);
    }
  }
  // Enough slices to be merged in two rounds.
  for (Layout layout : kLayouts) {
    const OwnedCodes database = MakeCodes(40 * 16 * 256, 1, layout, random);
    const OwnedCodes queries = MakeCodes(2, 1, Layout::kFewDistinct, random);
    TopKEqualsTheCore<int64_t>({2, 40 * 16 * 256, 1, layout, 64}, queries, database, 7);
  }
  if (failures == 0) std::printf("all claims hold\n");
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tfhash::cuda

int main() { return tfhash::cuda::Main(); }
