BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'search');
INSERT INTO "studies" VALUES(2,'race');
INSERT INTO "studies" VALUES(3,'confirmation');
INSERT INTO "studies" VALUES(4,'recording');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MAXIMIZE',2,0);
INSERT INTO "study_directions" VALUES(3,'MAXIMIZE',3,0);
INSERT INTO "study_directions" VALUES(4,'MAXIMIZE',4,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'schema_version','1');
INSERT INTO "study_user_attributes" VALUES(2,1,'identity','{"task": "stsb", "data": "ffb95054c59881910c84b5e34d814fb895dcf82689cca17177d032996f8f8a5a", "model": "9a4bd86ecd66aa95", "space": {"method": ["dps-dense"], "learning_rate": {"kind": "range", "low": 3e-05, "high": 0.0005, "log": true}, "selection_ratio": {"kind": "range", "low": 0.2, "high": 0.9, "log": false}, "update_ratio": {"kind": "range", "low": 0.1, "high": 0.25, "log": true}}, "max_steps": 30, "seed": 0, "scheduler": "asha", "sampler": "tpe", "batch_size": 16, "epochs": 3.0, "max_length": 128, "evaluations": 6, "train_size": null, "select_on": "holdout", "precision": "fp32", "transfer": null, "probe": null}');
INSERT INTO "study_user_attributes" VALUES(3,1,'git_dirty','false');
INSERT INTO "study_user_attributes" VALUES(4,1,'precision','"fp32"');
INSERT INTO "study_user_attributes" VALUES(5,1,'search_id','"232b0fe5db50453b8015ae79d473c16e"');
INSERT INTO "study_user_attributes" VALUES(6,1,'warm_start','[[], []]');
INSERT INTO "study_user_attributes" VALUES(7,1,'seconds','180.43454899900007');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,5,-2.6487445831298828125e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,10,-9.02012586593627929687e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,1,15,-1.16447299718856811523e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,1,20,2.98097990453243255615e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,1,25,0.0731201097369194,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,1,30,1.29347980022430419921e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,2,5,-1.28190666437149047851e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,2,10,-1.47423461079597473144e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,2,15,-2.15760856866836547851e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,3,5,-2.24989324808120727539e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,4,5,-2.48868450522422790527e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(12,5,5,-1.19516983628273010253e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(13,5,10,1.61909237504005432128e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,5,15,3.41480493545532226562e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,5,20,3.56536537408828735351e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,5,25,0.364052951335907,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,5,30,3.56942534446716308593e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,6,5,-1.53006017208099365234e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(19,6,10,-1.05986967682838439941e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(20,6,15,-2.38976418972015380859e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(21,7,5,-2.24989324808120727539e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(22,7,10,-3.78333367407321929931e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(23,7,15,1.25127527862787246704e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(24,7,20,1.44052043557167053222e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(25,7,25,2.74972945451736450195e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(26,7,30,3.08791786432266235351e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(27,8,5,-1.68943941593170166015e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(28,8,10,4.68911081552505493164e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(29,8,15,5.22163510322570800781e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(30,8,20,1.00757144391536712646e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(31,8,25,6.96669593453407287597e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(32,8,30,2.00696974992752075195e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(33,9,5,-2.33502089977264404296e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(34,9,10,3.42057526111602783203e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(35,9,15,4.80028301477432250976e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(36,9,20,0.504081130027771,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(37,9,25,5.01250028610229492187e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(38,9,30,4.96278941631317138671e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(39,10,5,1.03960201144218444824e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(40,10,10,-3.07288497686386108398e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(41,10,15,5.68490624427795410156e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(42,10,20,1.13401018083095550537e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(43,10,25,1.45515084266662597656e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(44,10,30,1.75039112567901611328e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(45,11,5,-1.52165561914443969726e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(46,11,10,-2.62869596481323242187e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(47,11,15,4.58820983767509460449e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(48,11,20,2.52170443534851074218e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(49,11,25,3.64778727293014526367e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(50,11,30,3.67536246776580810546e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(51,12,30,1.19428448379039764404e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(52,13,30,1.99375137686729431152e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(53,14,30,1.94942235946655273437e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(54,15,30,9.75651592016220092773e-02,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'learning_rate',1.22474487139158919784e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(2,1,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(3,1,'update_ratio',0.1,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(4,2,'learning_rate',4.79471406569845340133e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(5,2,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(6,2,'update_ratio',0.1,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(7,3,'learning_rate',3.12844515741001339814e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(8,3,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(9,3,'update_ratio',0.1,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(10,4,'learning_rate',1.41290506915053577351e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(11,4,'selection_ratio',6.95703475832673334799e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(12,4,'update_ratio',1.30545718939756971721e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(13,5,'learning_rate',4.55706742541569685082e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(14,5,'selection_ratio',5.83062574423005575141e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(15,5,'update_ratio',2.43820390581875823254e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(16,6,'learning_rate',5.60226093839486094082e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(17,6,'selection_ratio',8.09512614324163548573e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(18,6,'update_ratio',1.20854220757171296196e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(19,7,'learning_rate',3.12844515741001339814e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(20,7,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(21,7,'update_ratio',0.1,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(22,8,'learning_rate',4.55706742541569685082e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(23,8,'selection_ratio',5.83062574423005575141e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(24,8,'update_ratio',2.43820390581875823254e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(25,9,'learning_rate',3.12844515741001339814e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(26,9,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(27,9,'update_ratio',0.1,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(28,10,'learning_rate',3.12844515741001339814e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(29,10,'selection_ratio',0.7,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(30,10,'update_ratio',0.1,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(31,11,'learning_rate',4.55706742541569685082e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(32,11,'selection_ratio',5.83062574423005575141e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(33,11,'update_ratio',2.43820390581875823254e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(34,12,'learning_rate',4.55706742541569685082e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(35,12,'selection_ratio',5.83062574423005575141e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(36,12,'update_ratio',2.43820390581875823254e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(37,13,'learning_rate',4.55706742541569685082e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(38,14,'learning_rate',4.55706742541569685082e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
INSERT INTO "trial_params" VALUES(39,14,'selection_ratio',5.83062574423005575141e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.2, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(40,14,'update_ratio',2.43820390581875823254e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 0.25, "log": true}}');
INSERT INTO "trial_params" VALUES(41,15,'learning_rate',4.55706742541569685082e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 3e-05, "high": 0.0005, "log": true}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00012247448713915892, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_system_attributes" VALUES(2,2,'fixed_params','{"method": "dps-dense", "learning_rate": 4.7947140656984534e-05, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_system_attributes" VALUES(3,3,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_system_attributes" VALUES(4,4,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00014129050691505358, "selection_ratio": 0.6957034758326733, "update_ratio": 0.13054571893975697}');
INSERT INTO "trial_system_attributes" VALUES(5,5,'fixed_params','{"method": "dps-dense", "learning_rate": 0.0004557067425415697, "selection_ratio": 0.5830625744230056, "update_ratio": 0.24382039058187582}');
INSERT INTO "trial_system_attributes" VALUES(6,6,'fixed_params','{"method": "dps-dense", "learning_rate": 5.602260938394861e-05, "selection_ratio": 0.8095126143241635, "update_ratio": 0.1208542207571713}');
INSERT INTO "trial_system_attributes" VALUES(7,7,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_system_attributes" VALUES(8,8,'fixed_params','{"method": "dps-dense", "learning_rate": 0.0004557067425415697, "selection_ratio": 0.5830625744230056, "update_ratio": 0.24382039058187582}');
INSERT INTO "trial_system_attributes" VALUES(9,9,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_system_attributes" VALUES(10,10,'fixed_params','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_system_attributes" VALUES(11,11,'fixed_params','{"method": "dps-dense", "learning_rate": 0.0004557067425415697, "selection_ratio": 0.5830625744230056, "update_ratio": 0.24382039058187582}');
INSERT INTO "trial_system_attributes" VALUES(12,12,'fixed_params','{"method": "dps-dense", "learning_rate": 0.0004557067425415697, "selection_ratio": 0.5830625744230056, "update_ratio": 0.24382039058187582}');
INSERT INTO "trial_system_attributes" VALUES(13,13,'fixed_params','{"method": "vanilla", "learning_rate": 0.0004557067425415697}');
INSERT INTO "trial_system_attributes" VALUES(14,14,'fixed_params','{"method": "dps-dense", "learning_rate": 0.0004557067425415697, "selection_ratio": 0.5830625744230056, "update_ratio": 0.24382039058187582}');
INSERT INTO "trial_system_attributes" VALUES(15,15,'fixed_params','{"method": "vanilla", "learning_rate": 0.0004557067425415697}');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(2,1,'configuration','{"method": "dps-dense", "learning_rate": 0.00012247448713915892, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_user_attributes" VALUES(3,1,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(4,1,'seconds','14.642403411000032');
INSERT INTO "trial_user_attributes" VALUES(5,1,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(6,1,'began','1795945161.2885563');
INSERT INTO "trial_user_attributes" VALUES(7,1,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(8,1,'selected_share','0.70000209946016');
INSERT INTO "trial_user_attributes" VALUES(9,1,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(10,1,'peak_memory','1284771840');
INSERT INTO "trial_user_attributes" VALUES(11,1,'parts','{"start": 0.09323986499998682, "evaluation": 5.768154649000053, "report": 0.023611669999581864}');
INSERT INTO "trial_user_attributes" VALUES(12,2,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(13,2,'configuration','{"method": "dps-dense", "learning_rate": 4.7947140656984534e-05, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_user_attributes" VALUES(14,2,'outcome','"stopped"');
INSERT INTO "trial_user_attributes" VALUES(15,2,'seconds','7.368434768999805');
INSERT INTO "trial_user_attributes" VALUES(16,2,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(17,2,'began','1795945176.0734055');
INSERT INTO "trial_user_attributes" VALUES(18,2,'waited','0.14241926700037766');
INSERT INTO "trial_user_attributes" VALUES(19,3,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(20,3,'configuration','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_user_attributes" VALUES(21,3,'outcome','"stopped"');
INSERT INTO "trial_user_attributes" VALUES(22,3,'seconds','2.5604985070001476');
INSERT INTO "trial_user_attributes" VALUES(23,3,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(24,3,'began','1795945183.866856');
INSERT INTO "trial_user_attributes" VALUES(25,3,'waited','0.07635013100002652');
INSERT INTO "trial_user_attributes" VALUES(26,4,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(27,4,'configuration','{"method": "dps-dense", "learning_rate": 0.00014129050691505358, "selection_ratio": 0.6957034758326733, "update_ratio": 0.13054571893975697}');
INSERT INTO "trial_user_attributes" VALUES(28,4,'outcome','"stopped"');
INSERT INTO "trial_user_attributes" VALUES(29,4,'seconds','2.5851541479999014');
INSERT INTO "trial_user_attributes" VALUES(30,4,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(31,4,'began','1795945186.850708');
INSERT INTO "trial_user_attributes" VALUES(32,4,'waited','0.0754442200000085');
INSERT INTO "trial_user_attributes" VALUES(33,5,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(34,5,'configuration','{"method": "dps-dense", "learning_rate": 0.0004557067425415697, "selection_ratio": 0.5830625744230056, "update_ratio": 0.24382039058187582}');
INSERT INTO "trial_user_attributes" VALUES(35,5,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(36,5,'seconds','15.183520242999975');
INSERT INTO "trial_user_attributes" VALUES(37,5,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(38,5,'began','1795945189.9779956');
INSERT INTO "trial_user_attributes" VALUES(39,5,'waited','0.0835623850000502');
INSERT INTO "trial_user_attributes" VALUES(40,5,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(41,5,'selected_share','0.5830655128182263');
INSERT INTO "trial_user_attributes" VALUES(42,5,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(43,5,'peak_memory','1333968896');
INSERT INTO "trial_user_attributes" VALUES(44,5,'parts','{"start": 0.021105797000018356, "evaluation": 5.74127367899996, "report": 0.018427673000132927}');
INSERT INTO "trial_user_attributes" VALUES(45,6,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(46,6,'configuration','{"method": "dps-dense", "learning_rate": 5.602260938394861e-05, "selection_ratio": 0.8095126143241635, "update_ratio": 0.1208542207571713}');
INSERT INTO "trial_user_attributes" VALUES(47,6,'outcome','"stopped"');
INSERT INTO "trial_user_attributes" VALUES(48,6,'seconds','7.600496852000106');
INSERT INTO "trial_user_attributes" VALUES(49,6,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(50,6,'began','1795945205.2981284');
INSERT INTO "trial_user_attributes" VALUES(51,6,'waited','0.13658368999995218');
INSERT INTO "trial_user_attributes" VALUES(52,7,'seed','0');
INSERT INTO "trial_user_attributes" VALUES(53,7,'configuration','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_user_attributes" VALUES(54,7,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(55,7,'seconds','15.493399490000002');
INSERT INTO "trial_user_attributes" VALUES(56,7,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(57,7,'began','1795945213.3706017');
INSERT INTO "trial_user_attributes" VALUES(58,7,'waited','0.08557628199991996');
INSERT INTO "trial_user_attributes" VALUES(59,7,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(60,7,'selected_share','0.70000209946016');
INSERT INTO "trial_user_attributes" VALUES(61,7,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(62,7,'peak_memory','1326215168');
INSERT INTO "trial_user_attributes" VALUES(63,7,'parts','{"start": 0.019082547999914823, "evaluation": 5.9500953309998295, "report": 0.04047047900007783}');
INSERT INTO "trial_user_attributes" VALUES(64,8,'seed','1000');
INSERT INTO "trial_user_attributes" VALUES(65,8,'configuration','{"method": "dps-dense", "learning_rate": 0.0004557067425415697, "selection_ratio": 0.5830625744230056, "update_ratio": 0.24382039058187582}');
INSERT INTO "trial_user_attributes" VALUES(66,8,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(67,8,'seconds','14.48685125399993');
INSERT INTO "trial_user_attributes" VALUES(68,8,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(69,8,'began','1795945228.9786663');
INSERT INTO "trial_user_attributes" VALUES(70,8,'waited','0.11463242200011337');
INSERT INTO "trial_user_attributes" VALUES(71,8,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(72,8,'selected_share','0.5830655128182263');
INSERT INTO "trial_user_attributes" VALUES(73,8,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(74,8,'peak_memory','1339162624');
INSERT INTO "trial_user_attributes" VALUES(75,8,'parts','{"start": 0.018618389999801366, "evaluation": 5.539919962999875, "report": 0.015088826999772209}');
INSERT INTO "trial_user_attributes" VALUES(76,9,'seed','1000');
INSERT INTO "trial_user_attributes" VALUES(77,9,'configuration','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_user_attributes" VALUES(78,9,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(79,9,'seconds','14.517109952000055');
INSERT INTO "trial_user_attributes" VALUES(80,9,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(81,9,'began','1795945243.5692265');
INSERT INTO "trial_user_attributes" VALUES(82,9,'waited','0.103684745999999');
INSERT INTO "trial_user_attributes" VALUES(83,9,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(84,9,'selected_share','0.70000209946016');
INSERT INTO "trial_user_attributes" VALUES(85,9,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(86,9,'peak_memory','1342521344');
INSERT INTO "trial_user_attributes" VALUES(87,9,'parts','{"start": 0.02090710900006343, "evaluation": 5.615665545999718, "report": 0.04529587799993351}');
INSERT INTO "trial_user_attributes" VALUES(88,10,'seed','1001');
INSERT INTO "trial_user_attributes" VALUES(89,10,'configuration','{"method": "dps-dense", "learning_rate": 0.00031284451574100134, "selection_ratio": 0.7, "update_ratio": 0.1}');
INSERT INTO "trial_user_attributes" VALUES(90,10,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(91,10,'seconds','15.198033725999949');
INSERT INTO "trial_user_attributes" VALUES(92,10,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(93,10,'began','1795945258.2348514');
INSERT INTO "trial_user_attributes" VALUES(94,10,'waited','0.14848521099997924');
INSERT INTO "trial_user_attributes" VALUES(95,10,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(96,10,'selected_share','0.70000209946016');
INSERT INTO "trial_user_attributes" VALUES(97,10,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(98,10,'peak_memory','1326149632');
INSERT INTO "trial_user_attributes" VALUES(99,10,'parts','{"start": 0.02348656399999527, "evaluation": 5.554910102999884, "report": 0.04279486099994756}');
INSERT INTO "trial_user_attributes" VALUES(100,11,'seed','1001');
INSERT INTO "trial_user_attributes" VALUES(101,11,'configuration','{"method": "dps-dense", "learning_rate": 0.0004557067425415697, "selection_ratio": 0.5830625744230056, "update_ratio": 0.24382039058187582}');
INSERT INTO "trial_user_attributes" VALUES(102,11,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(103,11,'seconds','17.144672133999848');
INSERT INTO "trial_user_attributes" VALUES(104,11,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(105,11,'began','1795945273.5768285');
INSERT INTO "trial_user_attributes" VALUES(106,11,'waited','0.1439216840001336');
INSERT INTO "trial_user_attributes" VALUES(107,11,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(108,11,'selected_share','0.5830655128182263');
INSERT INTO "trial_user_attributes" VALUES(109,11,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(110,11,'peak_memory','1334382592');
INSERT INTO "trial_user_attributes" VALUES(111,11,'parts','{"start": 0.020215749999806576, "evaluation": 5.961311773000034, "report": 0.04491809900014232}');
INSERT INTO "trial_user_attributes" VALUES(112,12,'seed','1');
INSERT INTO "trial_user_attributes" VALUES(113,12,'configuration','{"method": "dps-dense", "learning_rate": 0.0004557067425415697, "selection_ratio": 0.5830625744230056, "update_ratio": 0.24382039058187582}');
INSERT INTO "trial_user_attributes" VALUES(114,12,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(115,12,'seconds','10.697846867999942');
INSERT INTO "trial_user_attributes" VALUES(116,12,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(117,12,'began','1795945290.958462');
INSERT INTO "trial_user_attributes" VALUES(118,12,'waited','0.23693854900011502');
INSERT INTO "trial_user_attributes" VALUES(119,12,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(120,12,'selected_share','0.5830655128182263');
INSERT INTO "trial_user_attributes" VALUES(121,12,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(122,12,'peak_memory','1324019712');
INSERT INTO "trial_user_attributes" VALUES(123,12,'parts','{"start": 0.018146220999824436, "evaluation": 2.1049061279998114, "report": 0.0026432910001403798}');
INSERT INTO "trial_user_attributes" VALUES(124,12,'final','{"dev": {"pearson": 0.11942844837903976, "spearman": 0.1296377112606033}}');
INSERT INTO "trial_user_attributes" VALUES(125,13,'seed','1');
INSERT INTO "trial_user_attributes" VALUES(126,13,'configuration','{"method": "vanilla", "learning_rate": 0.0004557067425415697}');
INSERT INTO "trial_user_attributes" VALUES(127,13,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(128,13,'seconds','11.598238999999921');
INSERT INTO "trial_user_attributes" VALUES(129,13,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(130,13,'began','1795945301.728446');
INSERT INTO "trial_user_attributes" VALUES(131,13,'waited','0.07210697600021376');
INSERT INTO "trial_user_attributes" VALUES(132,13,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(133,13,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(134,13,'peak_memory','1374896128');
INSERT INTO "trial_user_attributes" VALUES(135,13,'parts','{"start": 0.004568532999883246, "evaluation": 2.2526522830000886, "report": 0.007026656000107323}');
INSERT INTO "trial_user_attributes" VALUES(136,13,'final','{"dev": {"pearson": 0.19937513768672943, "spearman": 0.19181130870586557}}');
INSERT INTO "trial_user_attributes" VALUES(137,14,'seed','2');
INSERT INTO "trial_user_attributes" VALUES(138,14,'configuration','{"method": "dps-dense", "learning_rate": 0.0004557067425415697, "selection_ratio": 0.5830625744230056, "update_ratio": 0.24382039058187582}');
INSERT INTO "trial_user_attributes" VALUES(139,14,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(140,14,'seconds','11.140083472000015');
INSERT INTO "trial_user_attributes" VALUES(141,14,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(142,14,'began','1795945313.61226');
INSERT INTO "trial_user_attributes" VALUES(143,14,'waited','0.28555043400001523');
INSERT INTO "trial_user_attributes" VALUES(144,14,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(145,14,'selected_share','0.5830655128182263');
INSERT INTO "trial_user_attributes" VALUES(146,14,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(147,14,'peak_memory','1313484800');
INSERT INTO "trial_user_attributes" VALUES(148,14,'parts','{"start": 0.018557909000037398, "evaluation": 2.1586931140002434, "report": 0.012012096000034944}');
INSERT INTO "trial_user_attributes" VALUES(149,14,'final','{"dev": {"pearson": 0.19494223594665527, "spearman": 0.2005402393727488}}');
INSERT INTO "trial_user_attributes" VALUES(150,15,'seed','2');
INSERT INTO "trial_user_attributes" VALUES(151,15,'configuration','{"method": "vanilla", "learning_rate": 0.0004557067425415697}');
INSERT INTO "trial_user_attributes" VALUES(152,15,'outcome','"completed"');
INSERT INTO "trial_user_attributes" VALUES(153,15,'seconds','11.282168787000046');
INSERT INTO "trial_user_attributes" VALUES(154,15,'slot','"90f5c5b1"');
INSERT INTO "trial_user_attributes" VALUES(155,15,'began','1795945324.878593');
INSERT INTO "trial_user_attributes" VALUES(156,15,'waited','0.1262217129999499');
INSERT INTO "trial_user_attributes" VALUES(157,15,'covered','"bert: 38 linear weights, 10.8 M of 22.7 M parameters"');
INSERT INTO "trial_user_attributes" VALUES(158,15,'passes','30.0');
INSERT INTO "trial_user_attributes" VALUES(159,15,'peak_memory','1375703040');
INSERT INTO "trial_user_attributes" VALUES(160,15,'parts','{"start": 0.0032779050000044663, "evaluation": 2.1534490240001105, "report": 0.00700006600004599}');
INSERT INTO "trial_user_attributes" VALUES(161,15,'final','{"dev": {"pearson": 0.09756515920162201, "spearman": 0.10742268682950935}}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,1.29347980022430419921e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,-2.15760856866836547851e-01,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,-2.24989324808120727539e-01,'FINITE');
INSERT INTO "trial_values" VALUES(4,4,0,-2.48868450522422790527e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,5,0,3.56942534446716308593e-01,'FINITE');
INSERT INTO "trial_values" VALUES(6,6,0,-2.38976418972015380859e-01,'FINITE');
INSERT INTO "trial_values" VALUES(7,7,0,3.08791786432266235351e-01,'FINITE');
INSERT INTO "trial_values" VALUES(8,8,0,2.00696974992752075195e-01,'FINITE');
INSERT INTO "trial_values" VALUES(9,9,0,4.96278941631317138671e-01,'FINITE');
INSERT INTO "trial_values" VALUES(10,10,0,1.75039112567901611328e-01,'FINITE');
INSERT INTO "trial_values" VALUES(11,11,0,3.67536246776580810546e-01,'FINITE');
INSERT INTO "trial_values" VALUES(12,12,0,1.19428448379039764404e-01,'FINITE');
INSERT INTO "trial_values" VALUES(13,13,0,1.99375137686729431152e-01,'FINITE');
INSERT INTO "trial_values" VALUES(14,14,0,1.94942235946655273437e-01,'FINITE');
INSERT INTO "trial_values" VALUES(15,15,0,9.75651592016220092773e-02,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-29 09:39:16.107387','2026-11-29 09:39:35.961794');
INSERT INTO "trials" VALUES(2,1,1,'PRUNED','2026-11-29 09:39:36.015342','2026-11-29 09:39:43.465707');
INSERT INTO "trials" VALUES(3,2,1,'PRUNED','2026-11-29 09:39:43.492937','2026-11-29 09:39:46.458137');
INSERT INTO "trials" VALUES(4,3,1,'PRUNED','2026-11-29 09:39:46.474054','2026-11-29 09:39:49.460389');
INSERT INTO "trials" VALUES(5,4,1,'COMPLETE','2026-11-29 09:39:49.544748','2026-11-29 09:40:05.195254');
INSERT INTO "trials" VALUES(6,5,1,'PRUNED','2026-11-29 09:40:05.215571','2026-11-29 09:40:12.923367');
INSERT INTO "trials" VALUES(7,0,2,'COMPLETE','2026-11-29 09:40:12.946073','2026-11-29 09:40:28.877366');
INSERT INTO "trials" VALUES(8,1,2,'COMPLETE','2026-11-29 09:40:28.900373','2026-11-29 09:40:43.491520');
INSERT INTO "trials" VALUES(9,2,2,'COMPLETE','2026-11-29 09:40:43.513808','2026-11-29 09:40:58.102991');
INSERT INTO "trials" VALUES(10,3,2,'COMPLETE','2026-11-29 09:40:58.129885','2026-11-29 09:41:13.452827');
INSERT INTO "trials" VALUES(11,4,2,'COMPLETE','2026-11-29 09:41:13.483452','2026-11-29 09:41:30.750134');
INSERT INTO "trials" VALUES(12,0,3,'COMPLETE','2026-11-29 09:41:30.776727','2026-11-29 09:41:41.675456');
INSERT INTO "trials" VALUES(13,1,3,'COMPLETE','2026-11-29 09:41:41.698023','2026-11-29 09:41:53.347175');
INSERT INTO "trials" VALUES(14,2,3,'COMPLETE','2026-11-29 09:41:53.363451','2026-11-29 09:42:04.770832');
INSERT INTO "trials" VALUES(15,3,3,'COMPLETE','2026-11-29 09:42:04.785046','2026-11-29 09:42:16.174168');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
