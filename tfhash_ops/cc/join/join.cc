#include "join/join.h"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <utility>

#include "join/near_pairs.h"
#include "join/join_pieces.h"

namespace tfhash::join {
namespace {

constexpr int kMostBuckets = 1 << Piece::kStepBits;
constexpr int64_t kMostDepth = 8;
// Codes of a tile: both sides stay in the first-level cache, and its hits are few megabytes.
constexpr int64_t kRows = 256, kColumns = 1024;
// Buckets of at least this many codes are divided by all threads together.
constexpr int64_t kWide = 1 << 16;
constexpr size_t kEdges = 1 << 13;

// Codes that agree in the pieces of `path`; in the last of them perhaps only in `used` bits of its hash.
struct Node {
  int64_t begin, end;
  int side = 0;  // which of the two copies holds them
  int used = 0;
  int depth = 0;
  std::array<int16_t, kMostDepth> path = {};

  int64_t size() const { return end - begin; }
  int64_t last() const { return depth == 0 ? -1 : path[depth - 1]; }
};

// Codes and their numbers.
struct Copy {
  std::vector<uint64_t> codes;
  std::vector<uint32_t> numbers;
};

class Join {
 public:
  Join(const std::string& kernel, const std::vector<uint64_t>& codes, int64_t bits, int64_t radius,
       JoinThreads* threads, const std::atomic<int32_t>* is_cancelled, EdgeSink* sink)
      : words_((bits + 63) / 64),
        count_(static_cast<int64_t>(codes.size()) / words_),
        radius_(radius),
        near_(NearPairsOf(kernel, words_)),
        costs_{near_.nanoseconds * words_, 6.0 + 2.0 * words_},
        plan_(MakePlan(codes.data(), count_, bits, radius, costs_)),
        threads_(threads),
        is_cancelled_(is_cancelled),
        sink_(sink) {
    for (Copy& copy : copies_) {
      copy.codes.resize(codes.size());
      copy.numbers.resize(count_);
    }
    std::copy(codes.begin(), codes.end(), copies_[0].codes.begin());
    std::iota(copies_[0].numbers.begin(), copies_[0].numbers.end(), 0u);
  }

  void Run() {
    Node all{0, count_};
    Visit(all, true, nullptr);
    for (const auto& worker : workers_) Flush(worker.get());
  }

 private:
  struct Worker {
    std::vector<Hit> hits;
    std::vector<Edge> edges;
  };

  // Divides a node by a piece, after `used` bits of its hash by `bits` more.
  struct Step {
    int64_t piece;
    int used;
    int bits;

    int64_t BucketOf(uint64_t hash) const { return hash << used >> (64 - bits); }
  };

  // Compares the codes of a node, or divides it. Its side holds the same codes afterwards, perhaps in
  // another order.
  void Visit(Node node, bool is_wide, Worker* worker) {
    if (node.size() < 2) return;
    const double all = CompareAll(node.size());
    if (all > costs_.move * node.size()) {
      if (node.size() > kColumns) CheckCancelled();
      while (node.depth > 0 && node.used < LastPiece(node).hash_bits()) {
        const Steps steps{node.last(), node.last() + 1, node.used};
        if (IsWorthwhile(node, steps, all)) return DivideBy(node, steps, is_wide, worker);
        node.used += StepOf(node, steps.begin, steps.used).bits;
      }
      if (node.depth < plan_.depth) {
        const Steps steps{node.last() + 1, radius_ + node.depth + 1, 0};
        if (IsWorthwhile(node, steps, all)) return DivideBy(node, steps, is_wide, worker);
      }
    }
    Compare(node, is_wide, worker);
  }

  // One step for each of these pieces.
  struct Steps {
    int64_t begin, end;
    int used;
  };

  double CompareAll(double size) const { return size * (size - 1) / 2 * costs_.compare; }

  const Piece& LastPiece(const Node& node) const { return plan_.pieces[node.last()]; }

  // Buckets of some four codes: fewer would cost more to visit than to compare.
  Step StepOf(const Node& node, int64_t piece, int used) const {
    int bits = 1;
    while (bits < Piece::kStepBits && int64_t{8} << bits < node.size()) ++bits;
    return {piece, used, std::min(bits, plan_.pieces[piece].hash_bits() - used)};
  }

  static Node Child(const Node& node, const Step& step, int64_t begin, int64_t end) {
    Node child = node;
    child.begin = begin;
    child.end = end;
    child.side = 1 - node.side;
    child.used = step.used + step.bits;
    if (step.used == 0) child.path[child.depth++] = static_cast<int16_t>(step.piece);
    return child;
  }

  // Whether dividing a node by all of the steps costs less than `all`, going by the buckets of a
  // part of the codes.
  bool IsWorthwhile(const Node& node, const Steps& steps, double all) const {
    double cost = costs_.move * static_cast<double>((steps.end - steps.begin) * node.size());
    for (int64_t piece = steps.begin; piece < steps.end; ++piece) {
      if (cost >= all) return false;
      const Step step = StepOf(node, piece, steps.used);
      // What a code costs at least in a bucket that can be divided once more.
      const Node child = Child(node, step, 0, 0);
      double further = std::numeric_limits<double>::infinity();
      if (child.used < plan_.pieces[piece].hash_bits()) {
        further = costs_.move;
      } else if (child.depth < plan_.depth) {
        further = costs_.move * static_cast<double>(radius_ + child.depth - piece);
      }
      const int64_t buckets = int64_t{1} << step.bits;
      const int64_t stride = std::max<int64_t>(1, node.size() / (2 * buckets));
      uint32_t counts[kMostBuckets];
      Count(node, step, node.begin, node.end, stride, counts);
      const double scale = static_cast<double>(stride);
      for (int64_t bucket = 0; bucket < buckets; ++bucket) {
        const double found = counts[bucket];
        if (found < 2) continue;
        const double compare = found * (found - 1) / 2 * scale * scale * costs_.compare;
        cost += std::min(compare, found * scale * further);
      }
    }
    return cost < all;
  }

  // counts[b] = how many of every `stride`-th code from `begin` to `end` fall into bucket b.
  void Count(const Node& node, const Step& step, int64_t begin, int64_t end, int64_t stride,
             uint32_t* counts) const {
    std::fill_n(counts, int64_t{1} << step.bits, 0);
    const Piece& piece = plan_.pieces[step.piece];
    const uint64_t* codes = copies_[node.side].codes.data();
    for (int64_t i = begin; i < end; i += stride) {
      ++counts[step.BucketOf(piece.Hash(codes + i * words_))];
    }
  }

  std::vector<std::vector<uint32_t>> CountParts(const Node& node, const Step& step, int64_t parts) {
    std::vector<std::vector<uint32_t>> counts(parts, std::vector<uint32_t>(1 << step.bits));
    threads_->Run(parts, [&](int64_t part) {
      Count(node, step, PartOf(node, part, parts), PartOf(node, part + 1, parts), 1,
            counts[part].data());
    });
    return counts;
  }

  int64_t Parts(const Node& node, bool is_wide) const {
    return is_wide && node.size() >= kWide ? threads_->threads() : 1;
  }

  static int64_t PartOf(const Node& node, int64_t part, int64_t parts) {
    return node.begin + node.size() * part / parts;
  }

  // Visits the buckets of each step in turn. Between two steps, the codes change sides.
  void DivideBy(const Node& node, const Steps& steps, bool is_wide, Worker* worker) {
    Node now = node;
    for (int64_t piece = steps.begin; piece < steps.end; ++piece) {
      const Step step = StepOf(node, piece, steps.used);
      uint32_t ends[kMostBuckets];
      Scatter(now, step, is_wide, ends);
      VisitBuckets(now, step, is_wide, ends, worker);
      now.side = 1 - now.side;
    }
    if (now.side != node.side) Move(now, node.side);
  }

  // Moves the codes of a node to the other side, in the order of their buckets. ends[b] is where
  // bucket b ends, less where the node begins.
  void Scatter(const Node& node, const Step& step, bool is_wide, uint32_t* ends) {
    const int64_t parts = Parts(node, is_wide);
    const int64_t buckets = int64_t{1} << step.bits;
    if (parts == 1) {
      Count(node, step, node.begin, node.end, 1, ends);
      uint32_t next = 0;
      for (int64_t bucket = 0; bucket < buckets; ++bucket) {
        next += std::exchange(ends[bucket], next);
      }
      return ScatterPart(node, step, node.begin, node.end, ends);  // each place advances to its end
    }
    auto places = CountParts(node, step, parts);
    uint32_t next = 0;
    for (int64_t bucket = 0; bucket < buckets; ++bucket) {
      for (auto& of_part : places) next += std::exchange(of_part[bucket], next);
    }
    threads_->Run(parts, [&](int64_t part) {
      ScatterPart(node, step, PartOf(node, part, parts), PartOf(node, part + 1, parts),
                  places[part].data());
    });
    std::copy_n(places.back().begin(), buckets, ends);
  }

  void ScatterPart(const Node& node, const Step& step, int64_t begin, int64_t end,
                   uint32_t* places) {
    const Piece& piece = plan_.pieces[step.piece];
    const Copy& from = copies_[node.side];
    Copy& to = copies_[1 - node.side];
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t* code = from.codes.data() + i * words_;
      const int64_t place = node.begin + places[step.BucketOf(piece.Hash(code))]++;
      uint64_t* moved = to.codes.data() + place * words_;
      moved[0] = code[0];
      for (int64_t w = 1; w < words_; ++w) moved[w] = code[w];
      to.numbers[place] = from.numbers[i];
    }
  }

  void Move(const Node& node, int side) {
    const Copy& from = copies_[node.side];
    Copy& to = copies_[side];
    std::copy(from.codes.begin() + node.begin * words_, from.codes.begin() + node.end * words_,
              to.codes.begin() + node.begin * words_);
    std::copy(from.numbers.begin() + node.begin, from.numbers.begin() + node.end,
              to.numbers.begin() + node.begin);
  }

  void VisitBuckets(const Node& node, const Step& step, bool is_wide, const uint32_t* ends,
                    Worker* worker) {
    const int64_t buckets = int64_t{1} << step.bits;
    const auto child = [&](int64_t bucket) {
      return Child(node, step, node.begin + (bucket == 0 ? 0 : ends[bucket - 1]),
                   node.begin + ends[bucket]);
    };
    if (!is_wide) {
      int64_t begin = 0;
      for (int64_t bucket = 0; bucket < buckets; begin = ends[bucket++]) {
        if (ends[bucket] - begin >= 2) Visit(child(bucket), false, worker);
      }
      return;
    }
    // A bucket that holds much of the work would leave the other threads idle.
    const int64_t large = std::max(node.size() / 8, kWide / 16);
    std::vector<int64_t> rest;
    for (int64_t bucket = 0; bucket < buckets; ++bucket) {
      const int64_t size = child(bucket).size();
      if (size > large) Visit(child(bucket), true, nullptr);
      if (size >= 2 && size <= large) rest.push_back(bucket);
    }
    constexpr int64_t kBatch = 4;
    const int64_t batches = (static_cast<int64_t>(rest.size()) + kBatch - 1) / kBatch;
    RunWithWorkers(batches, [&](int64_t batch, Worker* its_worker) {
      CheckCancelled();
      const size_t end = std::min<size_t>((batch + 1) * kBatch, rest.size());
      for (size_t i = batch * kBatch; i < end; ++i) Visit(child(rest[i]), false, its_worker);
    });
  }

  void Compare(const Node& node, bool is_wide, Worker* worker) {
    const int64_t rows = (node.size() + kRows - 1) / kRows;
    if (!is_wide) {
      for (int64_t row = 0; row < rows; ++row) CompareRows(node, row, worker);
      return;
    }
    RunWithWorkers(rows, [&](int64_t row, Worker* its_worker) {
      CompareRows(node, row, its_worker);
    });
  }

  void CompareRows(const Node& node, int64_t row, Worker* worker) {
    const Copy& copy = copies_[node.side];
    Tile tile;
    tile.row_begin = node.begin + row * kRows;
    tile.row_end = std::min(tile.row_begin + kRows, node.end);
    for (int64_t column = tile.row_begin; column < node.end; column += kColumns) {
      if (node.size() > kColumns) CheckCancelled();
      tile.column_begin = column;
      tile.column_end = std::min(column + kColumns, node.end);
      worker->hits.clear();
      near_.find(copy.codes.data(), words_, tile, radius_, &worker->hits);
      for (const Hit& hit : worker->hits) Report(node, hit, worker);
    }
  }

  void Report(const Node& node, const Hit& hit, Worker* worker) {
    const Copy& copy = copies_[node.side];
    const uint64_t* row = copy.codes.data() + hit.row * words_;
    const uint64_t* column = copy.codes.data() + hit.column * words_;
    if (!IsFirst(node, row, column)) return;
    int32_t distance = 0;
    for (int64_t w = 0; w < words_; ++w) distance += __builtin_popcountll(row[w] ^ column[w]);
    const auto [a, b] = std::minmax(copy.numbers[hit.row], copy.numbers[hit.column]);
    worker->edges.push_back({a, b, distance});
    if (worker->edges.size() == kEdges) Flush(worker);
  }

  // Whether the path of the node holds the first pieces that the codes agree in, and no other.
  bool IsFirst(const Node& node, const uint64_t* row, const uint64_t* column) const {
    int64_t found = 0;
    for (int64_t piece = 0; piece <= node.last(); ++piece) {
      const bool is_in_path = node.path[found] == piece;
      if (plan_.pieces[piece].Agrees(row, column) != is_in_path) return false;
      found += is_in_path;
    }
    return true;
  }

  void Flush(Worker* worker) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!worker->edges.empty()) sink_->Take(worker->edges);
    worker->edges.clear();
  }

  // A task has a worker to itself; there are as many as tasks run at a time.
  template <typename Function>
  void RunWithWorkers(int64_t count, const Function& function) {
    threads_->Run(count, [&](int64_t i) {
      Worker* worker = Borrow();
      function(i, worker);
      std::lock_guard<std::mutex> lock(mutex_);
      idle_.push_back(worker);
    });
  }

  Worker* Borrow() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) {
      workers_.push_back(std::make_unique<Worker>());
      idle_.reserve(workers_.size());
      return workers_.back().get();
    }
    Worker* worker = idle_.back();
    idle_.pop_back();
    return worker;
  }

  void CheckCancelled() const {
    if (is_cancelled_ != nullptr && is_cancelled_->load(std::memory_order_relaxed)) {
      throw Cancelled();
    }
  }

  const int64_t words_;
  const int64_t count_;
  const int64_t radius_;
  const NearPairs near_;
  const Costs costs_;
  const Plan plan_;
  JoinThreads* const threads_;
  const std::atomic<int32_t>* const is_cancelled_;
  EdgeSink* const sink_;
  Copy copies_[2];
  std::mutex mutex_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> idle_;
};

}  // namespace

void JoinDistinct(const std::string& kernel, const std::vector<uint64_t>& codes, int64_t bits,
                  int64_t radius, JoinThreads* threads, const std::atomic<int32_t>* is_cancelled,
                  EdgeSink* sink) {
  Join(kernel, codes, bits, radius, threads, is_cancelled, sink).Run();
}

}  // namespace tfhash::join
