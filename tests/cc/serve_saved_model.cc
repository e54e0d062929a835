// Runs a SavedModel as TensorFlow Serving does: through a C++ session, which checks no shapes.
//
//   serve_saved_model MODEL SIGNATURE FILE...                 codes of files in hex, one a line
//   serve_saved_model MODEL shape:SIGNATURE uint8 D0,D1,...   zeros of a shape; prints the status
//   serve_saved_model MODEL warmup THREADS                    replays the warm-up file in each thread
//   serve_saved_model MODEL hammer SIGNATURE THREADS FILE...  the same from threads; all must agree
//
// A file for a signature on tensors is a serialized TensorProto.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/lib/io/record_reader.h"
#include "tensorflow/core/platform/env.h"

using Inputs = std::vector<std::pair<std::string, tensorflow::Tensor>>;
using google::protobuf::internal::WireFormatLite;
using tensorflow::Status;
using tensorflow::Tensor;

class Server {
 public:
  Status Load(const std::string& directory) {
    directory_ = directory;
    return tensorflow::LoadSavedModel({}, {}, directory, {"serve"}, &bundle_);
  }

  Status Run(const std::string& signature, const Inputs& inputs, const std::string& output,
             Tensor* result) {
    const auto found = bundle_.GetSignatures().find(signature);
    if (found == bundle_.GetSignatures().end()) return absl::NotFoundError(signature);
    Inputs feeds;
    for (const auto& [name, tensor] : inputs) {
      const auto& known = found->second.inputs();
      // A signature of one input takes it under any name.
      const auto input = known.count(name) ? known.find(name) : known.begin();
      feeds.emplace_back(input->second.name(), tensor);
    }
    std::vector<Tensor> results;
    const auto& outputs = found->second.outputs();
    const auto wanted = outputs.count(output) ? outputs.find(output) : outputs.begin();
    Status status =
        bundle_.session->Run(feeds, {wanted->second.name()}, {}, &results);
    if (status.ok()) *result = results[0];
    return status;
  }

  bool TakesStrings(const std::string& signature) const {
    const auto& inputs = bundle_.GetSignatures().at(signature).inputs();
    return inputs.begin()->second.dtype() == tensorflow::DT_STRING;
  }

  // Requests of assets.extra/tf_serving_warmup_requests: TFRecords of tensorflow.serving.PredictionLog,
  // whose fields are read by number, for the wheel lacks its classes.
  int Replay() {
    const std::string path = directory_ + "/assets.extra/tf_serving_warmup_requests";
    std::unique_ptr<tensorflow::RandomAccessFile> file;
    if (!tensorflow::Env::Default()->NewRandomAccessFile(path, &file).ok()) return -1;
    tensorflow::io::RecordReader reader(file.get());
    tensorflow::uint64 offset = 0;
    tensorflow::tstring record;
    int replayed = 0;
    while (reader.ReadRecord(&offset, &record).ok()) {
      const std::string request = Field(Field(std::string(record), 6), 1);
      const std::string signature = Field(Field(request, 1), 3);
      Inputs inputs;
      for (const std::string& entry : Fields(request, 2)) {
        tensorflow::TensorProto proto;
        Tensor tensor;
        if (!proto.ParseFromString(Field(entry, 2)) || !tensor.FromProto(proto)) return -2;
        inputs.emplace_back(Field(entry, 1), tensor);
      }
      Tensor result;
      Status status =
          Run(signature.empty() ? "serving_default" : signature, inputs, "codes", &result);
      if (!status.ok()) {
        std::cerr << signature << ": " << status << "\n";
        return -2;
      }
      ++replayed;
    }
    return replayed;
  }

 private:
  static std::vector<std::string> Fields(const std::string& message, int number) {
    google::protobuf::io::CodedInputStream stream(
        reinterpret_cast<const uint8_t*>(message.data()), message.size());
    std::vector<std::string> found;
    while (const uint32_t tag = stream.ReadTag()) {
      if (WireFormatLite::GetTagFieldNumber(tag) == number &&
          WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
        uint32_t size;
        std::string value;
        if (!stream.ReadVarint32(&size) || !stream.ReadString(&value, size)) break;
        found.push_back(value);
      } else if (!WireFormatLite::SkipField(&stream, tag)) {
        break;
      }
    }
    return found;
  }

  static std::string Field(const std::string& message, int number) {
    const auto found = Fields(message, number);
    return found.empty() ? "" : found[0];
  }

  std::string directory_;
  tensorflow::SavedModelBundle bundle_;
};

static std::string Read(const std::string& path) {
  std::ostringstream contents;
  contents << std::ifstream(path, std::ios::binary).rdbuf();
  return contents.str();
}

static Tensor InputOf(const std::vector<std::string>& paths, bool strings) {
  if (!strings) {
    tensorflow::TensorProto proto;
    Tensor tensor;
    if (!proto.ParseFromString(Read(paths.at(0))) || !tensor.FromProto(proto)) exit(3);
    return tensor;
  }
  Tensor batch(tensorflow::DT_STRING, {static_cast<int64_t>(paths.size())});
  for (size_t i = 0; i < paths.size(); ++i) batch.vec<tensorflow::tstring>()(i) = Read(paths[i]);
  return batch;
}

static std::string Hex(const Tensor& codes) {
  std::string lines;
  const auto rows = codes.matrix<tensorflow::uint8>();
  for (int64_t i = 0; i < rows.dimension(0); ++i) {
    for (int64_t j = 0; j < rows.dimension(1); ++j) {
      char digits[3];
      snprintf(digits, sizeof digits, "%02x", rows(i, j));
      lines += digits;
    }
    lines += "\n";
  }
  return lines;
}

static int Fail(const Status& status) {
  std::cout << status << "\n";
  return 2;
}

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const std::string command = arguments.at(1);
  Server server;
  if (Status status = server.Load(arguments.at(0)); !status.ok()) return Fail(status);
  Tensor result;
  if (command == "warmup") {
    std::vector<int> replayed(std::stoi(arguments.at(2)));
    std::vector<std::thread> running;
    for (int& count : replayed) running.emplace_back([&] { count = server.Replay(); });
    for (auto& thread : running) thread.join();
    for (int count : replayed) std::cout << count << "\n";
    return 0;
  }
  if (command.rfind("shape:", 0) == 0) {
    tensorflow::DataType dtype;
    if (!tensorflow::DataTypeFromString(arguments.at(2), &dtype)) return 3;
    tensorflow::TensorShape shape;
    std::istringstream sides(arguments.size() > 3 ? arguments[3] : "");
    for (std::string side; std::getline(sides, side, ',');) shape.AddDim(std::stoll(side));
    Tensor input(dtype, shape);
    std::memset(input.data(), 0, input.TotalBytes());
    Status status = server.Run(command.substr(6), {{"", input}}, "codes", &result);
    if (!status.ok()) return Fail(status);
    std::cout << "OK " << result.shape().DebugString() << "\n";
    return 0;
  }
  const bool is_hammer = command == "hammer";
  const std::string signature = is_hammer ? arguments.at(2) : command;
  const int threads = is_hammer ? std::stoi(arguments.at(3)) : 1;
  const std::vector<std::string> paths(arguments.begin() + (is_hammer ? 4 : 2), arguments.end());
  const Tensor input = InputOf(paths, server.TakesStrings(signature));
  Status status = server.Run(signature, {{"", input}}, "codes", &result);
  if (!status.ok()) return Fail(status);
  const std::string expected = Hex(result);
  if (is_hammer) {
    std::vector<int> wrong(threads);
    std::vector<std::thread> running;
    for (int t = 0; t < threads; ++t) {
      running.emplace_back([&, t] {
        for (int i = 0; i < 20; ++i) {
          // Every other request is refused, which must not harm the others.
          Tensor bad(tensorflow::DT_STRING, {1}), found;
          bad.vec<tensorflow::tstring>()(0) = "no image";
          if (i % 2) {
            wrong[t] += server.Run(signature, {{"", bad}}, "codes", &found).ok();
          } else {
            wrong[t] += !server.Run(signature, {{"", input}}, "codes", &found).ok() ||
                        Hex(found) != expected;
          }
        }
      });
    }
    for (auto& thread : running) thread.join();
    for (int count : wrong) {
      if (count) return 4;
    }
  }
  std::cout << expected;
  return 0;
}
