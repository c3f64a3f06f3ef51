// Reads what describes a model: metadata_props of an ONNX file, or bundle.json. Of the first only the outermost fields are
// looked at, so no library for protobuf is needed.
#include "detector.hpp"
#include "json.hpp"

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace {

constexpr uint64_t METADATA_PROPS = 14;  // field of ModelProto; of an entry, 1 is the key and 2 the value

uint64_t varint(const std::string& data, size_t& at) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (at >= data.size()) throw std::runtime_error("the ONNX file ends in the middle");
        const auto byte = static_cast<uint8_t>(data[at++]);
        value |= uint64_t(byte & 127) << shift;
        if (byte < 128) return value;
    }
    throw std::runtime_error("this is no ONNX file");
}

// The texts of a message's fields by their numbers, in their order.
std::vector<std::pair<uint64_t, std::string>> fields(const std::string& data, uint64_t only = 0) {
    std::vector<std::pair<uint64_t, std::string>> found;
    for (size_t at = 0; at < data.size();) {
        const uint64_t tag = varint(data, at);
        uint64_t size = 0;
        switch (tag & 7) {
            case 0: varint(data, at); continue;
            case 1: size = 8; break;
            case 2: size = varint(data, at); break;
            case 5: size = 4; break;
            default: throw std::runtime_error("this is no ONNX file");
        }
        if (size > data.size() - at) throw std::runtime_error("the ONNX file ends in the middle");
        if ((tag & 7) == 2 && (!only || tag >> 3 == only)) found.emplace_back(tag >> 3, data.substr(at, size));
        at += size;
    }
    return found;
}

std::string content_of(const std::string& name) {
    std::ifstream file(name, std::ios::binary);
    if (!file) throw std::runtime_error(name + " cannot be read");
    return {std::istreambuf_iterator<char>(file), {}};
}

// What both say in the same words.
About common(const Json& said) {
    About about;
    for (const Json& label : said["labels"].items) about.labels.push_back(label.text);
    const Json &steps = said["preprocess"], &nms = said["nms"];
    about.height = int(steps["input_size"].items.at(0).number);
    about.width = int(steps["input_size"].items.at(1).number);
    about.scale = steps["scale"].number != 0;
    for (size_t c = 0; c < 3; ++c) {
        about.mean[c] = float(steps["mean"].items.at(c).number);
        about.std[c] = float(steps["std"].items.at(c).number);
    }
    about.score_threshold = float(nms["score_threshold"].number);
    about.nms_threshold = float(nms["nms_threshold"].number);
    about.nms_top_k = int(nms["nms_top_k"].number);
    about.keep_top_k = int(nms["keep_top_k"].number);
    about.draw_threshold = float(said["draw_threshold"].number);
    if (said.members.count("thresholds"))
        for (const Json& one : said["thresholds"]["classes"].items) about.moved.push_back(float(one["threshold"].number));
    return about;
}

}  // namespace

About read_onnx(const std::string& file) {
    Json said;
    for (const auto& property : fields(content_of(file), METADATA_PROPS)) {
        std::string key, value;
        for (const auto& [number, text] : fields(property.second)) (number == 1 ? key : value) = text;
        for (const char* own : {"labels", "preprocess", "inputs", "outputs", "nms", "nms_in", "preprocess_in",
                                "draw_threshold", "thresholds"})
            if (key == own) said.members[key] = Parser(value).value();
    }
    About about = common(said);
    about.model = file;
    about.interpolation = said["preprocess"]["interpolation"].text;
    for (const auto& [what, name] : said["inputs"].members) about.inputs[what] = name.text;
    for (const auto& [what, name] : said["outputs"].members) about.outputs[what] = name.text;
    about.nms_in_graph = said["nms_in"].text == "graph";
    about.preprocess_in_graph = said["preprocess_in"].text == "graph";
    return about;
}

About read_bundle(const std::string& folder) {
    const Json said = Parser(content_of(folder + "/bundle.json")).value();
    const Json& engine = said["engine"];
    About about = common(said);
    about.model = folder + "/engine/" + engine["main"].text;
    const char* names[] = {"nearest", "linear", "cubic", "area"};  // OpenCV's numbers
    about.interpolation = names[size_t(said["preprocess"]["interpolation"].number) % 4];
    about.inputs["image"] = engine["image_input"].text;
    if (engine["scale_factor"].number != 0) about.inputs["scale_factor"] = engine["scale_input"].text;
    about.outputs = {{"boxes", engine["boxes_output"].text}, {"scores", engine["scores_output"].text}};
    const auto inside = engine.members.find("inside");
    if (inside == engine.members.end() || inside->second.members.empty()) return about;
    about.preprocess_in_graph = inside->second["preprocess"].number != 0;
    about.nms_in_graph = !inside->second["nms"].members.empty();
    if (about.nms_in_graph)
        for (const char* name : {"num_dets", "boxes", "scores", "labels"}) about.outputs[name] = name;
    return about;
}
