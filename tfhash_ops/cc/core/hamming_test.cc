// Every kernel and every search against a plain loop over pairs.
//
// A program of its own, so that it runs under the sanitizers of a compiler. It ends with status
// 1 after naming each claim that does not hold.

#include "hamming.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernel.h"

namespace tfhash {
namespace {

int failures = 0;

void Expect(bool holds, const std::string& claim) {
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "does not hold: %s\n", claim.c_str());
}

Executor Threads(int64_t threads) {
  return {threads, [](std::function<void()> run) { std::thread(std::move(run)).detach(); }};
}

std::vector<const Kernel*> Kernels() {
#if defined(TFHASH_EMULATED)
  return {Avx512Kernel()};
#else
  return SupportedKernels();
#endif
}

// Codes that begin one byte after an aligned address.
class OwnedCodes {
 public:
  OwnedCodes(int64_t count, int64_t bytes) : data_(1 + count * bytes), count_(count), bytes_(bytes) {}

  operator Codes() const { return {data_.data() + 1, count_, bytes_}; }
  uint8_t* operator[](int64_t i) { return data_.data() + 1 + i * bytes_; }
  int64_t count() const { return count_; }

 private:
  std::vector<uint8_t> data_;
  int64_t count_;
  int64_t bytes_;
};

enum class Layout { kRandom, kEqual, kFewDistinct, kNearerAndNearer, kZero };
constexpr Layout kLayouts[] = {Layout::kRandom, Layout::kEqual, Layout::kFewDistinct,
                               Layout::kNearerAndNearer};

OwnedCodes MakeCodes(int64_t count, int64_t bytes, Layout layout, std::mt19937& random) {
  OwnedCodes codes(count, bytes);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t byte = 0; byte < bytes; ++byte) {
      switch (layout) {
        case Layout::kRandom: codes[i][byte] = random(); break;
        case Layout::kEqual: codes[i][byte] = 0xA5; break;
        case Layout::kFewDistinct: codes[i][byte] = random() % 8 == 0 ? 0xFF : 0; break;
        case Layout::kZero: codes[i][byte] = 0; break;
        // To a query of zeros.
        case Layout::kNearerAndNearer: codes[i][byte] = i < count * byte / bytes ? 0xFF : 0;
      }
    }
  }
  return codes;
}

int32_t Distance(const Codes& a, int64_t i, const Codes& b, int64_t j) {
  int32_t distance;
  ScalarKernel().distances(a[i], b[j], 1, a.bytes, &distance);
  return distance;
}

// The items of the database in ascending order of (distance, index).
std::vector<std::pair<int32_t, int64_t>> Ranking(const Codes& queries, int64_t i,
                                                 const Codes& database) {
  std::vector<std::pair<int32_t, int64_t>> ranking;
  for (int64_t j = 0; j < database.count; ++j) {
    ranking.emplace_back(Distance(queries, i, database, j), j);
  }
  std::sort(ranking.begin(), ranking.end());
  return ranking;
}

struct Case {
  const Kernel* kernel;
  int64_t queries;
  int64_t items;
  int64_t bytes;
  int64_t threads;
  Layout layout;

  std::string Name() const {
    return std::string(kernel->name) + ", " + std::to_string(queries) + " x " +
           std::to_string(items) + " codes of " + std::to_string(bytes) + " bytes, layout " +
           std::to_string(static_cast<int>(layout)) + ", " + std::to_string(threads) + " threads";
  }
};

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
                               int64_t k) {
  std::vector<int32_t> distances(queries.count * k, -1);
  std::vector<int64_t> indices(queries.count * k, -1);
  HammingTopK(*c.kernel, queries, database, k, distances.data(), indices.data(),
              Threads(c.threads));
  bool holds = true;
  for (int64_t i = 0; i < queries.count; ++i) {
    const auto ranking = Ranking(queries, i, database);
    for (int64_t r = 0; r < k; ++r) {
      holds &= ranking[r] == std::make_pair(distances[i * k + r], indices[i * k + r]);
    }
  }
  Expect(holds, "top k is the head of the ranking, k = " + std::to_string(k) + ": " + c.Name());
}

void WithinIsTheRankingUpToTheRadius(const Case& c, const Codes& queries, const Codes& database,
                                     int64_t radius) {
  const Neighbors neighbors =
      HammingWithin(*c.kernel, queries, database, radius, Threads(c.threads));
  bool holds = static_cast<int64_t>(neighbors.row_splits.size()) == queries.count + 1;
  int64_t at = 0;
  for (int64_t i = 0; holds && i < queries.count; ++i) {
    holds &= neighbors.row_splits[i] == at;
    for (const auto& [distance, index] : Ranking(queries, i, database)) {
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
  // Some classes have no items, and one is of items alone.
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
         "histogram of tags counts every pair once: " + c.Name());
}

void CheckCase(const Case& c, std::mt19937& random) {
  const OwnedCodes database = MakeCodes(c.items, c.bytes, c.layout, random);
  const OwnedCodes queries = MakeCodes(c.queries, c.bytes, c.layout == Layout::kNearerAndNearer ? Layout::kZero : Layout::kRandom, random);
  DistancesEqualThoseOfTheScalarKernel(c, queries, database);
  for (int64_t k : {int64_t{1}, c.items / 17, c.items / 2, c.items}) {
    if (k >= 1 && k <= c.items) TopKIsTheHeadOfTheRanking(c, queries, database, k);
  }
  for (int64_t radius : {int64_t{0}, 2 * c.bytes, 4 * c.bytes, 8 * c.bytes, int64_t{1} << 40}) {
    WithinIsTheRankingUpToTheRadius(c, queries, database, radius);
  }
  HistogramCountsEveryPairOnce(c, 8 * c.bytes, queries, database, random);
}

// So many pairs that the counts of all codes there are come cheaper.
void HistogramOfShortCodesCountsEveryPairOnce(const Kernel& kernel, int64_t bits, int64_t queries,
                                              std::mt19937& random) {
  const Case c{&kernel, queries, 30000, (bits + 7) / 8, 2, Layout::kRandom};
  OwnedCodes asking = MakeCodes(c.queries, c.bytes, c.layout, random);
  OwnedCodes asked = MakeCodes(c.items, c.bytes, c.layout, random);
  for (OwnedCodes* codes : {&asking, &asked}) {
    for (int64_t i = 0; i < codes->count(); ++i) (*codes)[i][c.bytes - 1] &= 0xFF >> (8 * c.bytes - bits);
  }
  HistogramCountsEveryPairOnce(c, bits, asking, asked, random);
}

// Queries shared among threads, and more of them for each than are counted at a time.
void HistogramOnManyThreadsIsThatOnOne(const Kernel& kernel, int64_t bytes, std::mt19937& random) {
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
  for (int64_t threads : {2, 7}) {
    Expect(count(kernel, threads) == expected,
           std::string("histogram on many threads is that on one: ") + kernel.name + ", " +
               std::to_string(bytes) + " bytes");
  }
}

// Bit slicing, its every output, over all limits.
void PlanesFindExactlyTheCodesBelowTheLimit(const Kernel& kernel, int64_t bytes,
                                            std::mt19937& random) {
  const SlicedKernel& sliced = *kernel.sliced;
  const int64_t count = sliced.block - 3;
  const int64_t limits = 8 * bytes + 2;
  const OwnedCodes database = MakeCodes(count, bytes, Layout::kRandom, random);
  const OwnedCodes queries = MakeCodes(limits, bytes, Layout::kRandom, random);
  // One query for each limit.
  std::vector<uint8_t> memory(sliced.table_bytes(bytes) + 64);
  void* table = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  std::vector<uint16_t> selectors(limits * sliced.selectors(bytes));
  std::vector<uint64_t> words(limits * sliced.limit_words(bytes));
  for (int64_t limit = 0; limit < limits; ++limit) {
    sliced.select(Codes(queries)[limit], bytes, &selectors[limit * sliced.selectors(bytes)]);
    sliced.set_limit(limit, bytes, &words[limit * sliced.limit_words(bytes)]);
  }
  std::vector<int32_t> found(limits);
  std::vector<uint64_t> masks(limits * sliced.block / 64);
  sliced.build(Codes(database)[0], count, bytes, table);
  const int64_t found_count = sliced.find(table, bytes, selectors.data(), words.data(), limits,
                                          found.data(), masks.data());

  bool holds = true;
  int64_t f = 0;
  for (int64_t limit = 0; limit < limits; ++limit) {
    std::vector<bool> below(sliced.block);
    const OwnedCodes zeros(1, bytes);
    for (int64_t j = 0; j < sliced.block; ++j) {
      const int32_t distance = j < count ? Distance(queries, limit, database, j)
                                         : Distance(queries, limit, zeros, 0);
      below[j] = distance < limit;
    }
    if (std::find(below.begin(), below.end(), true) == below.end()) continue;
    holds &= f < found_count && found[f] == limit;
    for (int64_t j = 0; holds && j < sliced.block; ++j) {
      holds &= (masks[f * sliced.block / 64 + j / 64] >> (j % 64) & 1) == below[j];
    }
    ++f;
  }
  Expect(holds && f == found_count, std::string("planes find the codes below the limit: ") +
                                        kernel.name + ", " + std::to_string(bytes) + " bytes");
}

void ManyCallersGetTheAnswersOfOne(const Kernel& kernel) {
  std::mt19937 random(3);
  const OwnedCodes database = MakeCodes(40000, 8, Layout::kRandom, random);
  const OwnedCodes queries = MakeCodes(70, 8, Layout::kRandom, random);
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
         std::string("many callers get the answers of one: ") + kernel.name);
}

void AFailedTaskIsReported() {
  for (int64_t threads : {1, 2, 7}) {
    bool caught = false;
    std::atomic<int64_t> begun{0};
    try {
      RunTasks(Threads(threads), 100000, [&](int64_t i) {
        ++begun;
        if (i == 37) throw std::runtime_error("task 37");
        // The other threads leave task 37 the time to fail.
        if (i > 37) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
    } catch (const std::runtime_error& error) {
      caught = std::string(error.what()) == "task 37";
    }
    Expect(caught, "a failed task is reported, " + std::to_string(threads) + " threads");
    Expect(begun < 100000, "tasks not begun by then are left out");
  }
}

void AllTasksRunWhereNoMoreThreadsCanBeHad() {
  Executor executor = Threads(3);
  executor.schedule = [calls = 0, schedule = executor.schedule](auto run) mutable {
    if (++calls == 2) throw std::runtime_error("no more threads");
    schedule(std::move(run));
  };
  std::atomic<int64_t> begun{0};
  RunTasks(executor, 100, [&](int64_t) { ++begun; });
  Expect(begun == 100, "all tasks run where no more threads can be had");
}

void PaddingBitsAreFound() {
  OwnedCodes codes(3, 2);
  Expect(FindPaddingBits(codes, 12) == -1, "no padding bits are set");
  codes[2][1] = 0x10;
  Expect(FindPaddingBits(codes, 12) == 2, "the code with bit 12 set is found");
  Expect(FindPaddingBits(codes, 13) == -1 && FindPaddingBits(codes, 16) == -1,
         "bits below the number of bits are no padding");
}

// A database ends where its last code does, so that a sanitizer sees what is read beyond.
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
    if (kernel.sliced != nullptr) PlanesFindExactlyTheCodesBelowTheLimit(kernel, bytes, random);
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
  // Codes too long for a table.
  CheckCase({&kernel, 20, 30, 5000, 2, Layout::kRandom}, random);
}

// Queries and items shared among tasks, and many ties.
void AllWaysOfSharing(const Kernel& kernel, std::mt19937& random) {
  for (int64_t threads : {1, 2, 7}) {
    for (Layout layout : kLayouts) CheckCase({&kernel, 3, 40000, 2, threads, layout}, random);
    CheckCase({&kernel, 2, 40000, 8, threads, Layout::kFewDistinct}, random);
    CheckCase({&kernel, 200, 700, 6, threads, Layout::kNearerAndNearer}, random);
  }
  HistogramOnManyThreadsIsThatOnOne(kernel, 8, random);
  HistogramOnManyThreadsIsThatOnOne(kernel, 17, random);
  ManyCallersGetTheAnswersOfOne(kernel);
}

int Main(bool only_threads) {
  std::mt19937 random(1);
  for (const Kernel* kernel : Kernels()) {
    std::printf("kernel %s\n", kernel->name);
    if (!only_threads) AllLengthsAndSizes(*kernel, random);
    AllWaysOfSharing(*kernel, random);
  }
  AFailedTaskIsReported();
  AllTasksRunWhereNoMoreThreadsCanBeHad();
  PaddingBitsAreFound();
  if (failures == 0) std::printf("all claims hold\n");
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tfhash

// With the argument "threads", only what runs on several of them.
int main(int count, char** arguments) {
  return tfhash::Main(count > 1 && std::string(arguments[1]) == "threads");
}
