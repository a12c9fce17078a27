import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Map;
import java.util.TreeMap;

/** Uploads to each URL with each of Java's clients, and prints what came: a status, or the exception. */
public class Early {
    private static final byte[] BODY = new byte[5 << 20];

    interface Way {
        String upload(URI uri) throws Exception;
    }

    public static void main(String[] urls) {
        Map<String, Way> ways = new TreeMap<>();
        ways.put("HttpURLConnection", uri -> legacy(uri, connection -> {}));
        ways.put("HttpURLConnection (fixed)", uri -> legacy(uri, connection -> connection.setFixedLengthStreamingMode(BODY.length)));
        ways.put("HttpURLConnection (chunked)", uri -> legacy(uri, connection -> connection.setChunkedStreamingMode(4096)));
        for (HttpClient.Version version : HttpClient.Version.values()) {
            HttpClient client = HttpClient.newBuilder().version(version).build();
            ways.put("HttpClient (" + version + ")", uri -> modern(client, uri));
        }
        for (String url : urls) {
            ways.forEach((name, way) -> {
                String outcome;
                try {
                    outcome = way.upload(URI.create(url));
                } catch (Exception exception) {
                    outcome = exception.toString();
                }
                System.out.println(name + "\t" + url + "\t" + outcome);
            });
        }
    }

    interface Setting {
        void apply(HttpURLConnection connection);
    }

    private static String legacy(URI uri, Setting setting) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) uri.toURL().openConnection();
        connection.setRequestMethod("POST");
        connection.setDoOutput(true);
        setting.apply(connection);
        try (OutputStream body = connection.getOutputStream()) {
            body.write(BODY);
        }
        String status = String.valueOf(connection.getResponseCode());
        // There is none for a 401 to what was streamed.
        try (InputStream error = connection.getErrorStream()) {
            if (error != null) {
                error.readAllBytes();
            }
        }
        return status;
    }

    private static String modern(HttpClient client, URI uri) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofByteArray(BODY)).build();
        return String.valueOf(client.send(request, HttpResponse.BodyHandlers.ofByteArray()).statusCode());
    }
}
