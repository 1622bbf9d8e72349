#include <fmt/format.h>
#include <yaml-cpp/yaml.h>
#include <charconv>
#include <set>

#include "api/hostctl/manifest.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

/// Walks one document. yaml-cpp throws on bad input; every call into it stands below read_yaml's try.
class Reader {
 public:
  Reader(Document& document, std::vector<Problem>& problems) : document_(document), problems_(problems) {}

  Json read(const YAML::Node& node, const std::string& path, int depth) {
    if (++nodes_ > kMaxManifestNodes || depth > kMaxManifestDepth) {
      if (!overflow_) problem(node, path, "the document is too large or nested too deeply");
      overflow_ = true;
      return {};
    }
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null: return {};
      case YAML::NodeType::Scalar: return scalar(node, path);
      case YAML::NodeType::Sequence: return sequence(node, path, depth);
      case YAML::NodeType::Map: return map(node, path, depth);
    }
    return {};
  }

 private:
  static int line_of(const YAML::Node& node) { return node.Mark().line + 1; }
  void problem(const YAML::Node& node, const std::string& path, const std::string& text) {
    problems_.push_back({line_of(node), path, text});
  }

  Json sequence(const YAML::Node& node, const std::string& path, int depth) {
    std::vector<Json> items;
    for (const auto& item : node) {
      if (overflow_) break;
      const std::string here = fmt::format("{}[{}]", path, items.size());
      document_.lines.emplace(here, line_of(item));
      items.push_back(read(item, here, depth + 1));
    }
    return Json::array(items);
  }

  Json map(const YAML::Node& node, const std::string& path, int depth) {
    std::vector<std::pair<std::string, Json>> members;
    std::set<std::string> seen;
    for (const auto& pair : node) {
      if (overflow_) break;
      if (!pair.first.IsScalar() || pair.first.Scalar().size() > kMaxScalarBytes) {
        problem(pair.first, path, "has a field whose name is not a word");
        continue;
      }
      const std::string& name = pair.first.Scalar();
      const std::string here = path.empty() ? name : path + "." + name;
      if (!seen.insert(name).second) {
        problem(pair.first, here, fmt::format("is there twice; first on line {}", document_.lines[here]));
        continue;
      }
      document_.lines[here] = line_of(pair.first);
      members.emplace_back(name, read(pair.second, here, depth + 1));
    }
    return Json::object(members);
  }

  Json scalar(const YAML::Node& node, const std::string& path) {
    const std::string& text = node.Scalar();
    if (text.size() > kMaxScalarBytes) {
      problem(node, path, fmt::format("is longer than {} bytes", kMaxScalarBytes));
      return {};
    }
    if (node.Tag() != "?") {
      if (node.Tag() != "!" && node.Tag() != "tag:yaml.org,2002:str")
        problem(node, path, "has a tag; tags are not used here");
      return Json::of(std::string_view(text));
    }
    if (text == "true" || text == "false") return Json::of(text == "true");
    std::int64_t whole = 0;
    const char* end = text.data() + text.size();
    if (const auto r = std::from_chars(text.data(), end, whole); r.ec == std::errc() && r.ptr == end) {
      return Json::of(whole);
    }
    double real = 0;
    const bool numeric = text.find_first_not_of("0123456789+-.eE") == std::string::npos;
    if (const auto r = std::from_chars(text.data(), end, real); numeric && r.ec == std::errc() && r.ptr == end) {
      return Json::of(real);
    }
    return Json::of(std::string_view(text));
  }

  Document& document_;
  std::vector<Problem>& problems_;
  std::size_t nodes_{};
  bool overflow_{};
};

}  // namespace

std::string to_string(const std::string& file, const Problem& p) {
  return safe(p.field.empty() ? fmt::format("{}:{}: {}", file, p.line, p.text)
                              : fmt::format("{}:{}: {} {}", file, p.line, p.field, p.text));
}

Reading read_yaml(std::string_view text) {
  Reading out;
  if (text.size() > kMaxManifestBytes) {
    out.problems.push_back({1, "", fmt::format("the file is larger than {} bytes", kMaxManifestBytes)});
    return out;
  }
  if (text.find('\0') != std::string_view::npos) {
    out.problems.push_back({1, "", "the file is not text: it has NUL bytes"});
    return out;
  }
  try {
    for (const auto& node : YAML::LoadAll(std::string(text))) {
      if (!node.IsDefined() || node.IsNull()) continue;  // an empty document: only comments
      Document document;
      document.line = node.Mark().line + 1;
      Reader reader(document, out.problems);
      document.value = reader.read(node, "", 0);
      document.lines.emplace("", document.line);
      out.documents.push_back(std::move(document));
    }
  } catch (const YAML::Exception& e) {
    out.problems.push_back({std::max(e.mark.line, 0) + 1, "", "this is not YAML: " + e.msg});
  }
  if (out.documents.empty() && out.problems.empty()) {
    out.problems.push_back({1, "", "there is no document in it"});
  }
  return out;
}

}  // namespace bascule::hostctl
