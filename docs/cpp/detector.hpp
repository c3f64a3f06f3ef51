// What the parts of the example share: a detector described by its own ONNX file, on either runtime.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

// What describes a model (about.cpp).
struct About {
    std::string model;  // its file
    std::vector<std::string> labels;
    int height = 0, width = 0;
    std::string interpolation;
    bool scale = true;            // pixels are divided by 255 first
    float mean[3], std[3];        // R, G, B
    std::map<std::string, std::string> inputs, outputs;  // what it is -> what the graph calls it
    float score_threshold = 0, nms_threshold = 0, draw_threshold = 0;
    std::vector<float> moved;  // by class, where FP32's thresholds belong on this engine's scores; empty: not known
    int nms_top_k = -1, keep_top_k = -1;  // below 0: no limit
    bool nms_in_graph = false, preprocess_in_graph = false;
};
About read_onnx(const std::string& file);      // what an ONNX file of a bundle says of itself in metadata_props
About read_bundle(const std::string& folder);  // of an unpacked bundle's own engine, from bundle.json

// RGB, 8 bits, row by row (image.cpp). PPM always, PNG and JPEG if their libraries were found.
struct Image {
    int height = 0, width = 0;
    std::vector<uint8_t> pixels;
};
Image read_image(const std::string& file);
Image resize(const Image& image, int height, int width, const std::string& interpolation);

struct Detection {
    int label;
    float score;
    float box[4];  // x1, y1, x2, y2 in pixels of the image
};
// Of one image: boxes [anchors, 4], scores [classes, anchors]; best first (nms.cpp).
std::vector<Detection> nms(const float* boxes, const float* scores, size_t classes, size_t anchors, const About& about);

// An input as it is given, and an output with its values as floats, whole numbers too.
struct Given {
    std::string name;
    std::vector<int64_t> shape;
    const void* data;
    bool bytes;  // uint8, else float32
};
struct Values {
    std::vector<int64_t> shape;
    std::vector<float> data;
};

// Either runtime: openvino.cpp or onnxruntime.cpp.
class Engine {
public:
    virtual ~Engine() = default;
    virtual std::vector<Values> run(const std::vector<Given>& inputs, const std::vector<std::string>& outputs) = 0;
};
bool can_open(const std::string& suffix);
std::unique_ptr<Engine> open_engine(const std::string& file);
