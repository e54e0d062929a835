// Claims about the index, in all lengths, layouts and kernels; run under sanitizers.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/testing.h"
#include "index/build.h"
#include "index/c_api.h"
#include "index/filter.h"
#include "index/index.h"
#include "index/search.h"

namespace tfhash {
namespace {

// Codes in clusters, of `bits` bits.
OwnedCodes MakeClusters(int64_t count, int64_t bits, std::mt19937& random) {
  const int64_t bytes = (bits + 7) / 8;
  OwnedCodes centers = MakeCodes(count / 100 + 1, bytes, Layout::kRandom, random);
  OwnedCodes codes(count, bytes);
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(codes[i], centers[random() % centers.count()], bytes);
    for (int flips = random() % 4; flips > 0; --flips) codes[i][random() % bytes] ^= 1 << random() % 8;
    if (bits % 8 != 0) codes[i][bytes - 1] &= (1 << bits % 8) - 1;
  }
  return codes;
}

// By digits where there are many, whatever the ids and distances.
void NeighborsAreSortedAsByComparison(std::mt19937& random) {
  std::mt19937_64 ids(1);
  for (const int64_t count : {0, 1, 2, 4095, 4096, 20'000}) {
    for (const uint64_t mask : {~uint64_t{0}, uint64_t{0xffffff}, uint64_t{1}, uint64_t{0}}) {
      for (const int64_t farthest : {0, 3, 100'000}) {
        std::vector<Neighbor> found(count);
        for (Neighbor& each : found) {
          each = {static_cast<int32_t>(random() % (farthest + 1)), 0,
                  static_cast<int64_t>(ids() & mask)};
        }
        std::vector<Neighbor> expected = found;
        std::sort(expected.begin(), expected.end());
        SortNeighbors(&found);
        const auto equal = [](const Neighbor& a, const Neighbor& b) { return !(a < b) && !(b < a); };
        Expect(std::equal(found.begin(), found.end(), expected.begin(), expected.end(), equal),
               "neighbors are sorted: " + std::to_string(count));
      }
    }
  }
}

// What brute force finds for a query among the items whose place in `ids` is marked.
std::vector<Neighbor> Expected(const Codes& queries, int64_t i, const Codes& codes,
                               const std::vector<int64_t>& ids, const std::vector<bool>& present) {
  std::vector<Neighbor> found;
  for (int64_t j = 0; j < codes.count; ++j) {
    if (present[j]) found.push_back({Distance(queries, i, codes, j), 0, ids[j]});
  }
  std::sort(found.begin(), found.end());
  return found;
}

void CheckSearches(const Index& index, const Codes& queries, const Codes& codes,
                   const std::vector<int64_t>& ids, const std::vector<bool>& present,
                   const std::string& name) {
  const auto snapshot = index.snapshot();
  const int64_t bits = snapshot->bits;
  std::string error;
  const Kernel& kernel = *ChooseKernel(&error);
  for (const int64_t wanted : {1, 10, 200}) {
    const int64_t k = std::min(wanted, snapshot->items);
    if (k == 0) continue;
    std::vector<int32_t> distances(queries.count * k);
    std::vector<int64_t> found(queries.count * k);
    SearchTopK(kernel, snapshot->parts, queries, bits, k, distances.data(), found.data(), Threads(2));
    const int64_t radius = std::min<int64_t>(wanted, 4);
    const Neighbors near = SearchWithin(kernel, snapshot->parts, queries, bits, radius, Threads(2));
    for (int64_t i = 0; i < queries.count; ++i) {
      const std::vector<Neighbor> expected = Expected(queries, i, codes, ids, present);
      bool equal = true;
      for (int64_t j = 0; j < k; ++j) {
        equal = equal && distances[i * k + j] == expected[j].distance &&
                found[i * k + j] == expected[j].id;
      }
      Expect(equal, "the " + std::to_string(k) + " nearest are found: " + name);
      int64_t within = 0;
      while (within < static_cast<int64_t>(expected.size()) &&
             expected[within].distance <= radius) {
        ++within;
      }
      const int64_t begin = near.row_splits[i];
      equal = near.row_splits[i + 1] - begin == within;
      for (int64_t j = 0; equal && j < within; ++j) equal = near.indices[begin + j] == expected[j].id;
      Expect(equal, "all within a radius are found: " + name);
    }
  }
  for (const PartOfIndex& part : snapshot->parts) {
    const std::string problem = part.segment->Validate();
    Expect(problem.empty(), "segments are valid: " + name + ": " + problem);
  }
}

void SearchesFindWhatBruteForceFinds(int64_t bits, bool flat, std::mt19937& random) {
  const std::string name = std::to_string(bits) + " bits" + (flat ? ", flat" : "");
  const int64_t count = std::max<int64_t>(6000, 3 * 65536 / ((bits + 7) / 8) / 2);
  const OwnedCodes codes = MakeClusters(count, bits, random);
  const Codes view = codes;
  OwnedCodes queries = MakeClusters(2, bits, random);
  std::memcpy(queries[0], view[7], view.bytes);
  std::vector<int64_t> ids(count);
  for (int64_t i = 0; i < count; ++i) ids[i] = 3 * i - count;
  std::shuffle(ids.begin(), ids.end(), random);
  Index index(bits, flat);
  std::vector<bool> present(count);
  for (int64_t first = 0; first < count;) {
    const int64_t more = std::min<int64_t>(count - first, 1 + random() % count);
    index.Add(view[first], more, ids.data() + first, Threads(2));
    std::fill_n(present.begin() + first, more, true);
    first += more;
  }
  CheckSearches(index, queries, view, ids, present, name);
  for (const int64_t share : {100, 2}) {
    std::vector<int64_t> removed;
    for (int64_t i = 0; i < count; ++i) {
      if (!present[i] || random() % share != 0) continue;
      removed.push_back(ids[i]);
      present[i] = false;
    }
    std::vector<uint8_t> is_unknown(removed.size());
    const int64_t size = static_cast<int64_t>(removed.size());
    Expect(index.Remove(removed.data(), size, is_unknown.data(), Threads(1)), "ids are known");
    Expect(!index.Remove(removed.data(), size, is_unknown.data(), Threads(1)), "and now unknown");
    CheckSearches(index, queries, view, ids, present, name + ", some removed");
  }
  index.Merge(Threads(2));
  CheckSearches(index, queries, view, ids, present, name + ", merged");
}

// Codes of 7 bytes leave the least room between what tables take and the bound.
void RemovalsRarelyRebuild(std::mt19937& random) {
  const OwnedCodes codes = MakeCodes(20000, 7, Layout::kRandom, random);
  const Codes view = codes;
  Index index(56, false);
  index.Add(view[0], view.count, nullptr, Threads(2));
  std::set<std::shared_ptr<const Segment>> segments;
  for (int64_t id = 0; id < 1000; ++id) {
    uint8_t is_unknown = 0;
    index.Remove(&id, 1, &is_unknown, Threads(1));
    const auto snapshot = index.snapshot();
    Expect(snapshot->Bytes() <= snapshot->items * (5 * 7 + 8), "the bound holds after a removal");
    segments.insert(snapshot->parts.front().segment);
  }
  // Each after one item in 128 at the earliest.
  Expect(segments.size() <= 1 + 1000 / (20000 / 128 - 10), "removals rarely rebuild");
}

void FiltersAgree(std::mt19937& random) {
  for (const Kernel* kernel : SupportedKernels()) {
    for (const int64_t bytes : {1, 2, 3, 6, 8, 9, 16, 32, 40}) {
      const OwnedCodes codes = MakeCodes(2 * kFilterRows, bytes, Layout::kFewDistinct, random);
      const OwnedCodes query = MakeCodes(1, bytes, Layout::kFewDistinct, random);
      const Codes view = codes, query_view = query;
      for (const int64_t longest : {0, 1, 3, 8, 40}) {
        for (const int64_t limit : {int64_t{0}, 2 * bytes, 8 * bytes}) {
          std::vector<Range> ranges(12);
          for (Range& range : ranges) {
            range.begin = random() % kFilterRows;
            range.end = range.begin + random() % (longest + 1);
          }
          std::vector<int64_t> rows(kFilterRows), expected_rows(kFilterRows);
          std::vector<int32_t> distances(kFilterRows), expected_distances(kFilterRows);
          const Filter filter = ChooseFilter(*kernel, bytes);
          const int64_t found = filter(*kernel, query_view[0], view.data, ranges.data(), 12, bytes,
                                       limit, rows.data(), distances.data());
          const int64_t expected =
              FilterByDistances(ScalarKernel(), query_view[0], view.data, ranges.data(), 12, bytes,
                                limit, expected_rows.data(), expected_distances.data());
          rows.resize(found), distances.resize(found);
          expected_rows.resize(expected), expected_distances.resize(expected);
          Expect(rows == expected_rows && distances == expected_distances,
                 std::string("filters agree: ") + kernel->name + ", " + std::to_string(bytes) +
                     " bytes");
        }
      }
    }
  }
}

// One writer and two readers. Batches come and go whole.
void SnapshotsAreWhole(std::mt19937& random) {
  constexpr int64_t kBatch = 700, kBatches = 40;
  const OwnedCodes codes = MakeClusters(kBatch * kBatches, 64, random);
  const Codes view = codes;
  TfhashIndex* index = nullptr;
  TfhashIndexNew(64, 0, &index);
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&, reader] {
      while (!done) {
        TfhashIndexSnapshot* snapshot = nullptr;
        int64_t items = 0, next_id = 0;
        TfhashIndexTake(index, &snapshot, &items, &next_id);
        Expect(items % kBatch == 0, "batches come and go whole");
        if (items > 0) {
          std::vector<int32_t> distances(items);
          std::vector<int64_t> ids(items);
          const int64_t k = reader == 0 ? items : 3;
          const int32_t status = TfhashIndexSearch(snapshot, view[0], 1, k, 2, distances.data(),
                                                   ids.data());
          Expect(status == kTfhashIndexOk, "a search succeeds during changes");
          const std::set<int64_t> different(ids.begin(), ids.begin() + k);
          Expect(static_cast<int64_t>(different.size()) == k, "items are found once");
        }
        TfhashIndexRelease(snapshot);
      }
    });
  }
  std::vector<uint8_t> is_unknown(kBatch);
  for (int64_t batch = 0; batch < kBatches; ++batch) {
    int64_t first = 0;
    TfhashIndexAdd(index, view[batch * kBatch], kBatch, nullptr, 2, &first);
    Expect(first == batch * kBatch, "ids go on");
    if (batch % 3 != 2) continue;
    std::vector<int64_t> ids(kBatch);
    for (int64_t i = 0; i < kBatch; ++i) ids[i] = first - kBatch + i;
    Expect(TfhashIndexRemove(index, ids.data(), kBatch, 2, is_unknown.data()) == kTfhashIndexOk,
           "a batch is removed");
    if (batch % 9 == 8) TfhashIndexMerge(index, 2);
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  TfhashIndexFree(index);
}

void FailuresHaveMessages() {
  TfhashIndex* index = nullptr;
  TfhashIndexNew(8, 0, &index);
  const uint8_t codes[] = {1, 2};
  const int64_t ids[] = {5, 5};
  int64_t id = 0;
  Expect(TfhashIndexAdd(index, codes, 2, ids, 1, &id) == kTfhashIndexRepeatedId && id == 5,
         "a repeated id is named");
  Expect(std::string(TfhashIndexMessage()) == "an id is not new", "failures have messages");
  TfhashIndexFree(index);
}

}  // namespace
}  // namespace tfhash

int main(int argc, char** argv) {
  using namespace tfhash;
  std::mt19937 random(1);
  const bool threads_only = argc > 1 && std::string(argv[1]) == "threads";
  SnapshotsAreWhole(random);
  if (!threads_only) {
    for (const int64_t bits : {1, 7, 12, 24, 48, 64, 65, 128, 256}) {
      SearchesFindWhatBruteForceFinds(bits, false, random);
    }
    SearchesFindWhatBruteForceFinds(64, true, random);
    NeighborsAreSortedAsByComparison(random);
    RemovalsRarelyRebuild(random);
    FiltersAgree(random);
    FailuresHaveMessages();
  }
  if (failures == 0) std::puts("all claims hold");
  return failures == 0 ? 0 : 1;
}
