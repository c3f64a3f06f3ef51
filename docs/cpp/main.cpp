// detect_openvino or detect_onnxruntime MODEL.onnx IMAGE...   or   ... BUNDLE_FOLDER, for all its golden images.
// Prints a line of JSON for each image, as `detpress predict --json` does; all that it needs to know, the file says itself.
// With --moved as the first word, each class counts from its own threshold on, as `detpress predict --threshold moved`.
#include "detector.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>

namespace fs = std::filesystem;

namespace {

std::vector<Detection> detect(Engine& engine, const About& about, const Image& image) {
    const Image resized = resize(image, about.height, about.width, about.interpolation);
    const float scale[2] = {float(about.height) / float(image.height), float(about.width) / float(image.width)};
    std::vector<float> planes;
    Given pixels{about.inputs.at("image"), {1, about.height, about.width, 3}, resized.pixels.data(), true};
    if (!about.preprocess_in_graph) {  // normalised, one plane for each of R, G, B
        const size_t area = size_t(about.height) * about.width;
        planes.resize(3 * area);
        for (size_t c = 0; c < 3; ++c)
            for (size_t i = 0; i < area; ++i) {
                const float value = float(resized.pixels[3 * i + c]) / (about.scale ? 255.f : 1.f);
                planes[c * area + i] = (value - about.mean[c]) / about.std[c];
            }
        pixels = {pixels.name, {1, 3, about.height, about.width}, planes.data(), false};
    }
    std::vector<Given> inputs{pixels};
    const auto factor = about.inputs.find("scale_factor");
    if (factor != about.inputs.end()) inputs.push_back({factor->second, {1, 2}, scale, false});

    std::vector<std::string> wanted;
    const std::vector<std::string> inside{"num_dets", "boxes", "scores", "labels"}, outside{"boxes", "scores"};
    for (const std::string& what : about.nms_in_graph ? inside : outside) wanted.push_back(about.outputs.at(what));
    const std::vector<Values> out = engine.run(inputs, wanted);

    std::vector<Detection> found;
    if (about.nms_in_graph)
        for (size_t i = 0; i < size_t(out[0].data.at(0)); ++i) {
            const float* box = out[1].data.data() + 4 * i;
            found.push_back({int(out[3].data.at(i)), out[2].data.at(i), {box[0], box[1], box[2], box[3]}});
        }
    else
        found = nms(out[0].data.data(), out[1].data.data(), size_t(out[1].shape.at(1)), size_t(out[1].shape.at(2)), about);
    if (factor == about.inputs.end())  // boxes are in pixels of the resized image
        for (Detection& one : found)
            for (int k = 0; k < 4; ++k) one.box[k] /= scale[k % 2 ? 0 : 1];
    return found;
}

// A bundle's engine; where it is another runtime's, the ONNX file beside it.
About of_bundle(const fs::path& folder) {
    const About own = read_bundle(folder.string());
    return can_open(fs::path(own.model).extension().string()) ? own : read_onnx((folder / "model.onnx").string());
}

std::string escaped(const std::string& text) {
    std::string made;
    for (const char c : text) {
        if (c == '"' || c == '\\') made += '\\';
        made += c;
    }
    return made;
}

void print(const std::string& image, const std::vector<Detection>& found, const About& about, bool moved) {
    std::printf("{\"image\": \"%s\", \"detections\": [", escaped(image).c_str());
    const char* comma = "";
    for (const Detection& one : found)
        if (one.score >= (moved ? about.moved.at(size_t(one.label)) : about.draw_threshold)) {
            std::printf("%s{\"class\": %d, \"label\": \"%s\", \"score\": %.4f, \"box\": [%.1f, %.1f, %.1f, %.1f]}", comma,
                        one.label, escaped(about.labels.at(size_t(one.label))).c_str(), one.score, one.box[0], one.box[1],
                        one.box[2], one.box[3]);
            comma = ", ";
        }
    std::printf("]}\n");
}

}  // namespace

int main(int count, char** words) try {
    const bool moved = count > 1 && std::string(words[1]) == "--moved";
    if (moved) ++words, --count;
    if (count < 2 || (count < 3 && !fs::is_directory(words[1])))
        return std::fprintf(stderr, "usage: PROGRAM [--moved] MODEL.onnx IMAGE...  or  PROGRAM [--moved] BUNDLE_FOLDER\n"), 2;
    std::vector<std::string> images(words + 2, words + count);
    const fs::path path = words[1];
    const About about = fs::is_directory(path) ? of_bundle(path) : read_onnx(path.string());
    if (moved && about.moved.empty())
        throw std::runtime_error("the model has no thresholds of its own; see thresholds.score of detpress compress");
    if (!moved && !about.moved.empty())
        std::fprintf(stderr, "note: thresholds tuned on FP32 belong elsewhere on these scores; --moved uses those\n");
    if (images.empty())
        for (const auto& one : fs::directory_iterator(path / "golden"))
            if (one.path().extension() != ".json") images.push_back(one.path().string());
    std::sort(images.begin(), images.end());
    const std::unique_ptr<Engine> engine = open_engine(about.model);
    for (const std::string& image : images) print(image, detect(*engine, about, read_image(image)), about, moved);
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
}
