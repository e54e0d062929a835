// Compares every kernel and every search with a plain loop over pairs.
//
// A standalone program, so that it can run under sanitizers. Prints each claim that does not hold, and
// exits with status 1 if there is any.

#include "hamming.h"

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernel.h"
#include "testing.h"

namespace tfhash {
namespace {

void DistancesEqualThoseOfTheScalarKernel(const Case& c, const Codes& queries,
                                          const Codes& database) {
  std::vector<int32_t> distances(queries.count * database.count, -1);
  HammingDistance(*c.kernel, queries, database, distances.data(), Threads(c.threads));
  bool holds = true;
  for (int64_t i = 0; i < queries.count; ++i) {
    for (int64_t j = 0; j < database.count; ++j) {
      holds &= distances[i * database.count + j] == Distance(queries, i, database, j);
    }
  }
  Expect(holds, "distances equal those of the scalar kernel: " + c.Name());
}

void TopKIsTheHeadOfTheRanking(const Case& c, const Codes& queries, const Codes& database,
                               const Rankings& rankings, int64_t k) {
  std::vector<int32_t> distances(queries.count * k, -1);
  std::vector<int64_t> indices(queries.count * k, -1);
  HammingTopK(*c.kernel, queries, database, k, distances.data(), indices.data(),
              Threads(c.threads));
  bool holds = true;
  for (int64_t i = 0; i < queries.count; ++i) {
    for (int64_t r = 0; r < k; ++r) {
      holds &= rankings[i][r] == std::make_pair(distances[i * k + r], indices[i * k + r]);
    }
  }
  Expect(holds, "top k is the head of the ranking, k = " + std::to_string(k) + ": " + c.Name());
}

void WithinIsTheRankingUpToTheRadius(const Case& c, const Codes& queries, const Codes& database,
                                     const Rankings& rankings, int64_t radius) {
  const Neighbors neighbors =
      HammingWithin(*c.kernel, queries, database, radius, Threads(c.threads));
  bool holds = static_cast<int64_t>(neighbors.row_splits.size()) == queries.count + 1;
  int64_t at = 0;
  for (int64_t i = 0; holds && i < queries.count; ++i) {
    holds &= neighbors.row_splits[i] == at;
    for (const auto& [distance, index] : rankings[i]) {
      if (distance > radius) break;
      holds &= neighbors.distances.at(at) == distance && neighbors.indices.at(at) == index;
      ++at;
    }
  }
  holds &= neighbors.row_splits.back() == at;
  Expect(holds,
         "within is the ranking up to the radius " + std::to_string(radius) + ": " + c.Name());
}

void HistogramCountsEveryPairOnce(const Case& c, int64_t bits, const Codes& queries,
                                  const Codes& database, std::mt19937& random) {
  // Some classes have no items, and one class has no queries.
  std::vector<int64_t> query_labels(queries.count), database_labels(database.count);
  for (int64_t& label : query_labels) label = random() % 5 - 1;
  for (int64_t& label : database_labels) label = random() % 4;
  const OwnedCodes query_tags = MakeCodes(queries.count, 3, Layout::kFewDistinct, random);
  const OwnedCodes database_tags = MakeCodes(database.count, 3, Layout::kFewDistinct, random);

  const size_t size = queries.count * (bits + 1);
  std::vector<int64_t> items(size, -1), relevant(size, -1), all(size), same(size), sharing(size);
  for (int64_t i = 0; i < queries.count; ++i) {
    for (int64_t j = 0; j < database.count; ++j) {
      const int64_t bin = i * (bits + 1) + Distance(queries, i, database, j);
      bool shares = false;
      for (int byte = 0; byte < 3; ++byte) {
        shares |= (Codes(query_tags)[i][byte] & Codes(database_tags)[j][byte]) != 0;
      }
      ++all[bin];
      same[bin] += query_labels[i] == database_labels[j];
      sharing[bin] += shares;
    }
  }
  HammingHistogram(*c.kernel, queries, database, query_labels.data(), database_labels.data(), bits,
                   items.data(), relevant.data(), Threads(c.threads));
  Expect(items == all && relevant == same, "histogram counts every pair once: " + c.Name());
  HammingHistogram(*c.kernel, queries, database, query_tags, database_tags, bits, items.data(),
                   relevant.data(), Threads(c.threads));
  Expect(items == all && relevant == sharing,
         "multi-hot histogram counts every pair once: " + c.Name());
}

void CheckCase(const Case& c, std::mt19937& random) {
  const OwnedCodes database = MakeCodes(c.items, c.bytes, c.layout, random);
  const Layout query_layout =
      c.layout == Layout::kNearerAndNearer ? Layout::kZero : Layout::kRandom;
  const OwnedCodes queries = MakeCodes(c.queries, c.bytes, query_layout, random);
  DistancesEqualThoseOfTheScalarKernel(c, queries, database);
  const Rankings rankings = RankingsOf(queries, database);
  for (int64_t k : {int64_t{1}, c.items / 17, c.items / 2, c.items}) {
    if (k >= 1 && k <= c.items) TopKIsTheHeadOfTheRanking(c, queries, database, rankings, k);
  }
  for (int64_t radius : {int64_t{0}, 2 * c.bytes, 4 * c.bytes, 8 * c.bytes, int64_t{1} << 40}) {
    WithinIsTheRankingUpToTheRadius(c, queries, database, rankings, radius);
  }
  HistogramCountsEveryPairOnce(c, 8 * c.bytes, queries, database, random);
}

// Enough pairs that counting for all possible codes is cheaper.
void HistogramOfShortCodesCountsEveryPairOnce(const Kernel& kernel, int64_t bits, int64_t queries,
                                              std::mt19937& random) {
  const Case c{&kernel, queries, 30000, (bits + 7) / 8, 2, Layout::kRandom};
  OwnedCodes queries_of_bits = MakeCodes(c.queries, c.bytes, c.layout, random);
  OwnedCodes database = MakeCodes(c.items, c.bytes, c.layout, random);
  const uint8_t last_byte = 0xFF >> (8 * c.bytes - bits);
  for (OwnedCodes* codes : {&queries_of_bits, &database}) {
    for (int64_t i = 0; i < codes->count(); ++i) (*codes)[i][c.bytes - 1] &= last_byte;
  }
  HistogramCountsEveryPairOnce(c, bits, queries_of_bits, database, random);
}

// Queries split among threads, with more per thread than are counted at a time.
void HistogramOnManyThreadsEqualsThatOnOne(int64_t bytes, std::mt19937& random) {
  const OwnedCodes queries = MakeCodes(600, bytes, Layout::kRandom, random);
  const OwnedCodes database = MakeCodes(4000, bytes, Layout::kFewDistinct, random);
  const int64_t bits = 8 * bytes;
  const std::vector<int64_t> query_labels(600, 1), database_labels(4000, 1);
  auto count = [&](const Kernel& kernel, int64_t threads) {
    std::vector<int64_t> items(600 * (bits + 1), -1), relevant(items);
    HammingHistogram(kernel, queries, database, query_labels.data(), database_labels.data(), bits,
                     items.data(), relevant.data(), Threads(threads));
    return std::make_pair(items, relevant);
  };
  const auto expected = count(ScalarKernel(), 1);
  for (const Kernel* kernel : Kernels()) {
    for (int64_t threads : {2, 7}) {
      Expect(count(*kernel, threads) == expected,
             std::string("histogram on many threads equals that on one: ") + kernel->name + ", " +
                 std::to_string(bytes) + " bytes");
    }
  }
}

void ConcurrentCallersGetTheSameResults(const Kernel& kernel) {
  std::mt19937 random(3);
  const OwnedCodes database = MakeCodes(40000, 3, Layout::kRandom, random);
  const OwnedCodes queries = MakeCodes(70, 3, Layout::kRandom, random);
  auto search = [&](int64_t threads) {
    std::vector<int32_t> distances(queries.count() * 5);
    std::vector<int64_t> indices(queries.count() * 5);
    HammingTopK(kernel, queries, database, 5, distances.data(), indices.data(), Threads(threads));
    return std::make_pair(distances, indices);
  };
  const auto expected = search(1);
  std::vector<std::thread> callers;
  std::vector<char> equal(6);
  for (size_t i = 0; i < equal.size(); ++i) {
    callers.emplace_back([&, i] { equal[i] = search(1 + i % 3) == expected; });
  }
  for (std::thread& caller : callers) caller.join();
  Expect(std::count(equal.begin(), equal.end(), 1) == static_cast<int64_t>(equal.size()),
         std::string("concurrent callers get the same results: ") + kernel.name);
}

void PaddingBitsAreFound() {
  OwnedCodes codes(3, 2);
  Expect(FindPaddingBits(codes, 12) == -1, "no padding bits are set");
  codes[2][1] = 0x10;
  Expect(FindPaddingBits(codes, 12) == 2, "the code with bit 12 set is found");
  Expect(FindPaddingBits(codes, 13) == -1 && FindPaddingBits(codes, 16) == -1,
         "bits of the code are not padding");
}

// The memory of a database ends with its last code, so that a sanitizer finds reads beyond it.
void NoCodesBeyondTheLastAreRead(const Kernel& kernel, std::mt19937& random) {
  for (int64_t bytes = 1; bytes <= 9; ++bytes) {
    for (int64_t items = 0; items <= 70; ++items) {
      DistancesEqualThoseOfTheScalarKernel({&kernel, 1, items, bytes, 1, Layout::kRandom},
                                           MakeCodes(1, bytes, Layout::kRandom, random),
                                           MakeCodes(items, bytes, Layout::kRandom, random));
    }
  }
}

void AllLengthsAndSizes(const Kernel& kernel, std::mt19937& random) {
  NoCodesBeyondTheLastAreRead(kernel, random);
  for (int64_t bytes = 1; bytes <= 40; ++bytes) {
    if (kernel.sliced != nullptr) BitSlicedComparisonsHold(kernel, bytes, random);
    CheckCase({&kernel, 13, 300 + bytes, bytes, 1 + bytes % 3, kLayouts[bytes % 4]}, random);
  }
  for (int64_t bytes : {1, 2, 3, 8, 17, 100}) {
    for (int64_t items : {0, 1, 63, 64, 65, 255, 256, 257, 513}) {
      for (int64_t queries : {0, 1, 12, 70}) {
        CheckCase({&kernel, queries, items, bytes, 2, kLayouts[(items + queries) % 4]}, random);
      }
    }
  }
  HistogramOfShortCodesCountsEveryPairOnce(kernel, 1, 3, random);
  HistogramOfShortCodesCountsEveryPairOnce(kernel, 12, 80, random);
  HistogramOfShortCodesCountsEveryPairOnce(kernel, 16, 300, random);
  for (Layout layout : kLayouts) CheckCase({&kernel, 3, 40000, 2, 1, layout}, random);
  CheckCase({&kernel, 2, 40000, 8, 1, Layout::kFewDistinct}, random);
  CheckCase({&kernel, 200, 700, 6, 1, Layout::kNearerAndNearer}, random);
  // Codes that are too long for a table.
  CheckCase({&kernel, 20, 30, 5000, 2, Layout::kRandom}, random);
}

// Queries and items split among tasks, and many ties.
void AllWaysOfSharing(const Kernel& kernel, std::mt19937& random) {
  for (int64_t threads : {2, 7}) {
    for (Layout layout : kLayouts) CheckCase({&kernel, 3, 40000, 2, threads, layout}, random);
    CheckCase({&kernel, 2, 40000, 8, threads, Layout::kFewDistinct}, random);
    CheckCase({&kernel, 200, 700, 6, threads, Layout::kNearerAndNearer}, random);
  }
  ConcurrentCallersGetTheSameResults(kernel);
}

int Main(bool only_threads) {
  std::mt19937 random(1);
  for (const Kernel* kernel : Kernels()) {
    std::printf("kernel %s\n", kernel->name);
    if (!only_threads) AllLengthsAndSizes(*kernel, random);
    AllWaysOfSharing(*kernel, random);
  }
  HistogramOnManyThreadsEqualsThatOnOne(8, random);
  HistogramOnManyThreadsEqualsThatOnOne(17, random);
  ParallelTasksHold();
  PaddingBitsAreFound();
  if (failures == 0) std::printf("all claims hold\n");
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tfhash

// With the argument "threads", only tests that use several threads.
int main(int count, char** arguments) {
  return tfhash::Main(count > 1 && std::string(arguments[1]) == "threads");
}
