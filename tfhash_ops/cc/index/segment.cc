#include "index/segment.h"

namespace tfhash {
namespace {

std::string CheckDirectory(const Segment& segment, int p) {
  const View<uint32_t>& directory = segment.directories[p];
  if (directory[0] != 0 || directory[directory.size - 1] != segment.rows() ||
      !std::is_sorted(directory.begin(), directory.end())) {
    return "directory " + std::to_string(p) + " does not span the rows in ascending order";
  }
  for (int64_t key = 0; key + 1 < directory.size; ++key) {
    for (int64_t row = directory[key]; row < directory[key + 1]; ++row) {
      if (segment.pieces.KeyOf(segment.code(p, row), p) != key) {
        return "a code of table " + std::to_string(p) + " is in the wrong bucket";
      }
      if (p == 0) continue;
      // As many rows as in table 0, all different and all in table 0: none is missing.
      const bool ascends =
          row == directory[key] || CompareCodes(segment.code(p, row - 1), segment.code(p, row),
                                                segment.pieces.bytes) < 0;
      if (!ascends || segment.FindRow(segment.code(p, row)) < 0) {
        return "table " + std::to_string(p) + " does not have the codes of table 0";
      }
    }
  }
  return "";
}

std::string CheckRepeats(const Segment& segment) {
  int64_t marks = 0;
  for (int64_t i = 0; i < segment.repeats.size; ++i) {
    if (segment.repeats_before[i] != marks) return "the counts of repeated codes are wrong";
    marks += __builtin_popcountll(segment.repeats[i]);
  }
  if (segment.has_repeats()) {
    const View<uint32_t>& extras = segment.extras;
    const bool ascends = std::adjacent_find(extras.begin(), extras.end(),
                                            std::greater_equal<uint32_t>()) == extras.end();
    if (extras.size != marks + 1 || extras[0] != 0 || !ascends ||
        segment.rows() + extras[marks] != segment.items()) {
      return "the numbers of items of repeated codes are wrong";
    }
    // Marks beyond the last row.
    const int64_t used = segment.rows() % 64;
    if (used != 0 && segment.repeats[segment.repeats.size - 1] >> used != 0) {
      return "a code is marked that does not exist";
    }
  } else if (segment.rows() != segment.items()) {
    return "there are not as many ids as codes";
  }
  return "";
}

}  // namespace

int64_t Segment::FindRow(const uint8_t* wanted) const {
  const Range bucket = Bucket(0, pieces.KeyOf(wanted, 0));
  int64_t begin = bucket.begin, end = bucket.end;
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    const int order = CompareCodes(code(0, middle), wanted, pieces.bytes);
    if (order == 0) return middle;
    if (order < 0) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return -1;
}

int64_t Segment::FindId(int64_t id) const {
  if (items() == 0 || id < ids[0] || id > ids[items() - 1]) return -1;
  // Ids without gaps, the common case, need no search. Unsigned, because the difference may overflow.
  const uint64_t offset = static_cast<uint64_t>(id) - static_cast<uint64_t>(ids[0]);
  if (offset < static_cast<uint64_t>(items()) && ids[offset] == id) return offset;
  const int64_t* found = std::lower_bound(ids.begin(), ids.end(), id);
  return found != ids.end() && *found == id ? found - ids.begin() : -1;
}

int64_t Segment::ArrayBytes() const {
  int64_t bytes = 8 * ids.size + 4 * ranks.size + 8 * repeats.size + 4 * repeats_before.size +
                  4 * extras.size;
  for (const View<uint8_t>& table : tables) bytes += table.size;
  for (const View<uint32_t>& directory : directories) bytes += 4 * directory.size;
  return bytes;
}

std::string Segment::Validate() const {
  if (is_tail) {
    std::vector<int64_t> sorted(ids.begin(), ids.end());
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return "an id is repeated";
  } else if (std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<int64_t>()) !=
             ids.end()) {
    return "the ids are not in ascending order";
  }
  if (FindPaddingBits(codes(), pieces.bits) >= 0) return "a padding bit of a code is 1";
  if (!has_tables()) return rows() == items() ? "" : "there are not as many ids as codes";
  for (int64_t row = 1; row < rows(); ++row) {
    if (CompareCodes(code(0, row - 1), code(0, row), pieces.bytes) >= 0) {
      return "the codes are not in ascending order";
    }
  }
  for (int p = 0; p < pieces.count; ++p) {
    const std::string error = CheckDirectory(*this, p);
    if (!error.empty()) return error;
  }
  const std::string error = CheckRepeats(*this);
  if (!error.empty()) return error;
  std::vector<bool> seen(items());
  for (int64_t row = 0; row < rows(); ++row) {
    int64_t previous = -1;
    const Range range = ItemsOf(row);
    for (int64_t i = range.begin; i < range.end; ++i) {
      const int64_t rank = ranks[i];
      if (rank <= previous || rank >= items() || seen[rank]) return "the items of a code are wrong";
      seen[rank] = true;
      previous = rank;
    }
  }
  return "";
}

}  // namespace tfhash
