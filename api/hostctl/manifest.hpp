// The files `hostctl apply` reads: YAML with line numbers, checked against vm.schema.json.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/hostctl/json.hpp"
#include "hostd/core/error.hpp"

namespace bascule::hostctl {

/// A definition is some hundred bytes; these leave room for comments and for a whole project in one file.
inline constexpr std::size_t kMaxManifestBytes = 1024 * 1024;
inline constexpr std::size_t kMaxManifestNodes =
    5000;  ///< per document, after aliases: a small file can expand without end
inline constexpr int kMaxManifestDepth = 16;
inline constexpr std::size_t kMaxScalarBytes = 4096;

struct Problem {
  int line{};         ///< counted from 1
  std::string field;  ///< volumes[0].size_mib; empty = the document
  std::string text;   ///< completes "<field> ..."
};
/// "vm.yaml:3: cpus must be ..."
std::string to_string(const std::string& file, const Problem& problem);

struct Document {
  Json value;
  int line{1};
  /// Field ("volumes[0].name", "" for the document) -> line of its key.
  std::map<std::string, int> lines;
};

struct Reading {
  std::vector<Document> documents;
  std::vector<Problem> problems;  ///< not empty: nothing may be applied
};

/// All documents of a file. YAML 1.2's core types: on, off, yes and no are words, not booleans.
Reading read_yaml(std::string_view text);

/// What is wrong with a document, in the order of its lines; empty = it may be sent.
std::vector<Problem> check_vm(const Document& document);

/// The schema's text, as built into the program.
std::string_view vm_schema();

}  // namespace bascule::hostctl
