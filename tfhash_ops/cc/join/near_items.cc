#include "join/near_items.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>

namespace tfhash::join {

// Edges of the codes of some items; all edges where `is_chosen` is empty.
struct PairStream::Kept {
  std::vector<Edge> edges;
  std::vector<bool> is_chosen;
  bool are_too_many = false;
};

struct PairStream::Sink : EdgeSink {
  PairStream* stream;
  Kept* kept;
  bool is_counting;

  Sink(PairStream* stream, Kept* kept, bool is_counting)
      : stream(stream), kept(kept), is_counting(is_counting) {}

  void Take(const std::vector<Edge>& edges) override {
    for (const Edge& edge : edges) {
      if (is_counting) {
        ++stream->degrees_[edge.a];
        ++stream->degrees_[edge.b];
        stream->total_ += stream->distinct_.CountOf(edge.a) * stream->distinct_.CountOf(edge.b);
      } else if (!kept->is_chosen[edge.a] && !kept->is_chosen[edge.b]) {
        continue;
      }
      if (!kept->are_too_many) kept->edges.push_back(edge);
    }
    if (is_counting && static_cast<int64_t>(kept->edges.size()) > stream->options_.most_edges) {
      kept->are_too_many = true;
      std::vector<Edge>().swap(kept->edges);
    }
  }
};

PairStream::PairStream(const Codes& codes, int64_t bits, int64_t radius, const JoinOptions& options)
    : bits_(bits),
      radius_(radius),
      options_(options),
      threads_(options.threads),
      distinct_(codes, bits, &threads_),
      degrees_(distinct_.size()) {
  for (int64_t number = 0; number < distinct_.size(); ++number) {
    const int64_t count = distinct_.CountOf(number);
    total_ += count * (count - 1) / 2;
  }
  Kept kept;
  Sink sink(this, &kept, true);
  JoinDistinct(options_.kernel, distinct_.words(), bits_, radius_, &threads_,
               options_.is_cancelled, &sink);
  if (kept.are_too_many) return;
  distinct_.DropWords();
  filled_ = distinct_.items();
  MakeLists(kept.edges);
}

int64_t PairStream::Next(int64_t limit, int64_t* first, int64_t* second, int32_t* distances) {
  int64_t count = 0;
  while (count < limit) {
    if (written_ < row_.size()) {
      const int64_t end = std::min<int64_t>(limit - count, row_.size() - written_);
      for (int64_t i = 0; i < end; ++i, ++count, ++written_) {
        first[count] = item_ - 1;
        second[count] = row_[written_].first;
        distances[count] = row_[written_].second;
      }
      continue;
    }
    if (item_ == distinct_.items()) break;
    if (item_ == filled_) Fill();
    MakeRow(item_);
    ++item_;
  }
  return count;
}

// Joins again, for as many of the next items as have few enough edges; one at least.
void PairStream::Fill() {
  Kept kept;
  kept.is_chosen.resize(distinct_.size());
  int64_t edges = 0;
  for (; filled_ < distinct_.items(); ++filled_) {
    const int64_t number = distinct_.NumberOf(filled_);
    if (kept.is_chosen[number]) continue;
    if (edges > 0 && edges + degrees_[number] > options_.most_edges) break;
    edges += degrees_[number];
    kept.is_chosen[number] = true;
  }
  std::vector<Neighbor>().swap(neighbors_);
  Sink sink(this, &kept, false);
  JoinDistinct(options_.kernel, distinct_.words(), bits_, radius_, &threads_,
               options_.is_cancelled, &sink);
  MakeLists(kept.edges);
}

void PairStream::MakeLists(const std::vector<Edge>& edges) {
  list_ends_.assign(distinct_.size(), 0);
  for (const Edge& edge : edges) {
    ++list_ends_[edge.a];
    ++list_ends_[edge.b];
  }
  int64_t next = 0;
  for (int64_t& end : list_ends_) next += std::exchange(end, next);
  neighbors_.resize(next);
  for (const Edge& edge : edges) {
    neighbors_[list_ends_[edge.a]++] = {edge.b, edge.distance};
    neighbors_[list_ends_[edge.b]++] = {edge.a, edge.distance};
  }
}

void PairStream::MakeRow(int64_t item) {
  row_.clear();
  written_ = 0;
  const int64_t number = distinct_.NumberOf(item);
  const auto add_later = [&](int64_t of, int32_t distance) {
    for (int64_t rank = distinct_.CountOf(of); rank-- > 0;) {
      const int64_t other = distinct_.ItemOf(of, rank);
      if (other <= item) break;
      row_.emplace_back(other, distance);
    }
  };
  add_later(number, 0);
  for (int64_t i = number == 0 ? 0 : list_ends_[number - 1]; i < list_ends_[number]; ++i) {
    add_later(neighbors_[i].number, neighbors_[i].distance);
  }
  std::sort(row_.begin(), row_.end());
}

namespace {

// Union-find of distinct codes. The root of a tree is its smallest number.
class Forest : public EdgeSink {
 public:
  explicit Forest(const Distinct& distinct)
      : parents_(distinct.size()), nearest_(distinct.size(), kFar), farthest_(distinct.size(), -1) {
    std::iota(parents_.begin(), parents_.end(), 0u);
    for (int64_t number = 0; number < distinct.size(); ++number) {
      if (distinct.CountOf(number) > 1) nearest_[number] = farthest_[number] = 0;
    }
  }

  void Take(const std::vector<Edge>& edges) override {
    for (const Edge& edge : edges) {
      uint32_t root = RootOf(edge.a), other = RootOf(edge.b);
      if (root > other) std::swap(root, other);
      parents_[other] = root;
      nearest_[root] = std::min({nearest_[root], nearest_[other], edge.distance});
      farthest_[root] = std::max({farthest_[root], farthest_[other], edge.distance});
    }
  }

  uint32_t RootOf(uint32_t number) {
    while (parents_[number] != number) {
      parents_[number] = parents_[parents_[number]];
      number = parents_[number];
    }
    return number;
  }

  int32_t nearest(uint32_t root) const { return nearest_[root]; }
  int32_t farthest(uint32_t root) const { return farthest_[root]; }

 private:
  static constexpr int32_t kFar = std::numeric_limits<int32_t>::max();

  std::vector<uint32_t> parents_;
  std::vector<int32_t> nearest_;
  std::vector<int32_t> farthest_;
};

}  // namespace

void GroupItems(const Codes& codes, int64_t bits, int64_t radius, const JoinOptions& options,
                int64_t* groups, int32_t* nearest, int32_t* farthest) {
  JoinThreads threads(options.threads);
  const Distinct distinct(codes, bits, &threads);
  Forest forest(distinct);
  JoinDistinct(options.kernel, distinct.words(), bits, radius, &threads, options.is_cancelled,
               &forest);
  for (int64_t item = 0; item < distinct.items(); ++item) {
    const uint32_t root = forest.RootOf(static_cast<uint32_t>(distinct.NumberOf(item)));
    const bool is_alone = forest.farthest(root) < 0;
    groups[item] = is_alone ? -1 : distinct.ItemOf(root, 0);
    nearest[item] = is_alone ? -1 : forest.nearest(root);
    farthest[item] = is_alone ? -1 : forest.farthest(root);
  }
}

}  // namespace tfhash::join
