#include "checks.h"

#include <limits>

namespace tfhash {

std::string ToString(const Dims& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i > 0 ? "," : "") + std::to_string(dims[i]);
  return text + "]";
}

namespace {

// The distance between longer codes may not fit in an int32.
constexpr int64_t kMaxBytes = std::numeric_limits<int32_t>::max() / 8;

std::string Both(const char* what, const Dims& queries, const Dims& database) {
  return std::string(what) + ToString(queries) + " for the queries and " + ToString(database) +
         " for the database";
}

std::string CheckPaddingBitsOf(const char* name, int64_t found, int64_t bits) {
  if (found < 0) return "";
  return "the padding bits of codes of " + std::to_string(bits) +
         " bits must be zero. Received: code " + std::to_string(found) + " of the " + name +
         " has a bit set at position " + std::to_string(bits) + " or above";
}

}  // namespace

std::string CheckCodes(const Dims& queries, const Dims& database) {
  if (queries.size() != 2 || database.size() != 2 || queries[1] != database[1] ||
      queries[1] < 1) {
    return Both("packed codes must have the shapes [q, bytes] and [n, bytes], bytes >= 1. "
                "Received: ",
                queries, database);
  }
  if (queries[1] > kMaxBytes) {
    return Both("packed codes must have fewer than 2^28 bytes, because distances are 32-bit integers. "
                "Received: ",
                queries, database);
  }
  return "";
}

std::string CheckResult(int64_t rows, int64_t columns) {
  constexpr int64_t kMaxElements = std::numeric_limits<int64_t>::max() / sizeof(int64_t);
  if (columns == 0 || rows <= kMaxElements / columns) return "";
  return "the result must have fewer than 2^60 elements. Received: " +
         ToString({rows, columns}) + "; search with fewer queries at a time";
}

std::string CheckK(int64_t k, int64_t items) {
  if (k >= 1 && k <= items) return "";
  return "k must be at least 1 and at most the number of items in the database. Received: k = " +
         std::to_string(k) + " and " + std::to_string(items) + " items";
}

std::string CheckRadius(int64_t radius) {
  if (radius >= 0) return "";
  return "radius must be at least 0. Received: radius = " + std::to_string(radius);
}

std::string CheckBits(int64_t bits, int64_t bytes) {
  if (bits >= 1 && bits / 8 + (bits % 8 > 0) == bytes) return "";
  return "codes of B bits must have ceil(B / 8) bytes. Received: bits = " + std::to_string(bits) +
         " and codes of " + std::to_string(bytes) + " bytes";
}

std::string CheckLabels(const Dims& query_labels, const Dims& database_labels, bool is_multi_hot,
                        int64_t queries, int64_t items) {
  const size_t rank = is_multi_hot ? 2 : 1;
  if (query_labels.size() == rank && database_labels.size() == rank &&
      query_labels[0] == queries && database_labels[0] == items &&
      (!is_multi_hot || query_labels[1] == database_labels[1])) {
    return "";
  }
  const std::string q = std::to_string(queries), n = std::to_string(items);
  return Both((is_multi_hot ? "packed multi-hot labels must have the shapes [" + q +
                                  ", bytes] and [" + n + ", bytes]. Received: "
                            : "integer labels must have the shapes [" + q + "] and [" + n +
                                  "]. Received: ")
                  .c_str(),
              query_labels, database_labels);
}

std::string CheckPaddingBits(int64_t query, int64_t item, int64_t bits) {
  const std::string error = CheckPaddingBitsOf("queries", query, bits);
  return error.empty() ? CheckPaddingBitsOf("database", item, bits) : error;
}

}  // namespace tfhash
