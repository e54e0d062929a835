#include "index/cost.h"

#include <algorithm>
#include <cmath>

#include "core/scan.h"

namespace tfhash {
namespace {

// Expected distance of the 10th nearest of random codes, or `bits` if there are fewer.
int64_t ExpectedDistance(int64_t bits, int64_t rows) {
  // log of the number of codes at distance d, over that of all codes.
  double log_share = -bits * std::log(2.0);
  double expected = 0;
  for (int64_t d = 0; d <= bits; ++d) {
    expected += rows * std::exp(log_share);
    if (expected >= 10) return d;
    log_share += std::log(static_cast<double>(bits - d) / (d + 1));
  }
  return bits;
}

// Cost until all codes within `distance` have been seen.
double TableCost(const Pieces& pieces, int64_t rows, int64_t distance) {
  const double bucket = Costs::Bucket(std::ldexp(rows, -pieces.key_bits), pieces.bytes);
  double cost = 0;
  for (int flips = 0; flips <= pieces.key_bits; ++flips) {
    for (int p = 0; p < pieces.count; ++p) {
      cost += KeysAt(pieces.key_bits, flips) * bucket;
      if (distance <= pieces.count * flips + p) return cost;
    }
  }
  return cost;
}

}  // namespace

double Costs::Scan(double codes, int64_t bytes, int64_t queries) {
  const double direct = codes * (kScanCode + kScanByte * bytes);
  return queries < kMinSlicedQueries ? direct : std::min(direct, codes * kSlicedByte * bytes);
}

double KeysAt(int key_bits, int flips) {
  double keys = 1;
  for (int i = 0; i < flips; ++i) keys *= static_cast<double>(key_bits - i) / (i + 1);
  return keys;
}

int64_t MinTableRows(int64_t bytes) { return std::max<int64_t>(512, 65536 / bytes); }

Pieces ChoosePieces(int64_t bits, int64_t rows) {
  Pieces best;
  best.bits = bits;
  best.bytes = (bits + 7) / 8;
  if (rows < MinTableRows(best.bytes)) return best;
  // A table takes the bytes of a code and half a byte of its directory for each row; beside the ids (8
  // bytes) there are ranks (4) and marks (0.2). So 4 tables fit into the bound from 7 bytes on, and 3 from 4.
  const int max_count = bits <= 16 ? 1 : best.bytes <= 4 ? 2 : best.bytes <= 6 ? 3 : kMaxPieces;
  const int log_rows = static_cast<int>(std::log2(static_cast<double>(rows)));
  const int64_t distance = ExpectedDistance(bits, rows);
  double least = Costs::Scan(rows, best.bytes, 1);
  for (int count = 1; count <= max_count; ++count) {
    // Buckets of 8 to 512 codes.
    for (int key_bits = log_rows - 8; key_bits <= log_rows - 3; ++key_bits) {
      if (key_bits < 1 || key_bits > kMaxKeyBits || key_bits * count > bits) continue;
      Pieces pieces = best;
      pieces.count = count;
      pieces.key_bits = key_bits;
      const double cost = TableCost(pieces, rows, distance);
      if (cost < least) {
        least = cost;
        best = pieces;
      }
    }
  }
  if (best.count == 0) {
    best.count = static_cast<int>(std::min<int64_t>(max_count, std::max<int64_t>(1, bits / 8)));
    best.key_bits = static_cast<int>(
        std::clamp<int64_t>(log_rows - 4, 1, std::min<int64_t>(kMaxKeyBits, bits / best.count)));
  }
  return best;
}

}  // namespace tfhash
